"""The hot pool row: everybody asks for free work, and all of it comes out of one account."""
