"""What benchmarks are made of; each file in the folder above is a benchmark."""
