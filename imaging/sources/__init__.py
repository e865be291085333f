"""Where pictures come from before they are a data set: one small file for each format."""
