"""The equations of the papers, slow and plain."""
