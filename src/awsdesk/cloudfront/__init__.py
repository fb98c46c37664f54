"""CloudFront on the desk: distributions, their functions and the edge that serves them."""
