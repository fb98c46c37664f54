"""AWS on one desk: the emulator, the SES stand-in, the deployer and the container agent."""
