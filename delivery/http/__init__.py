"""PutEvents calls: boto3 gives URL, credentials and proxy; signing and HTTP are implemented here."""
