"""Fixed pretrained eyes: networks that others trained, in our own definitions, loaded from plain weights."""
