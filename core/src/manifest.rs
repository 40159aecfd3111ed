//! What `orchctl submit -f` reads.
