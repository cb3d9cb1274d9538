"""The carriers' lines as data: who may call in, how calls go out, how each writes numbers."""
