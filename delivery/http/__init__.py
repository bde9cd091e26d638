"""PutEvents calls: boto3 says where to, with what keys and by what way; signing and HTTP are ours."""
