"""Where images come from before they are a data set: one file for each format."""
