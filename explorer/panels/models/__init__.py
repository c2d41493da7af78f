"""The model dialog: what there is to open, what it would take, and how far its download is."""
