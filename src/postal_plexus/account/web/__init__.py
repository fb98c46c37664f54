"""The web server of the account page, in the container `web`."""
