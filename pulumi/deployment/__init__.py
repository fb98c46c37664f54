"""The parts of the AWS deployment, one component per file; `program` connects them."""
