#!/bin/sh
# LocalStack runs this when it is ready.
set -eu
awslocal s3api create-bucket --bucket strandline
