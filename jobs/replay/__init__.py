"""Replays many batches: finds them and their pending events, then sends these in order or exports them."""
