//! Recovery of a former incarnation's segments into the bucket.
