<<<<<<< HEAD
//! The `strandline` program.

=======
>>>>>>> 31d9729 (Objects, manifests, cache: what the bucket holds and how it is found again)
fn main() {}
