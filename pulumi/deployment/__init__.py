"""The parts of the AWS deployment, one component a file; `program` puts them together."""
