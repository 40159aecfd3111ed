//! What happens between taking the lock and the first new record.
//!
//! [`examine`] reads everything and changes nothing; when it is content, [`mend`] takes a torn tail away and makes what
//! was found durable. [`tail`] decides what torn means.

pub(crate) mod examine;
pub(crate) mod mend;
pub(crate) mod tail;

pub use tail::Sign;
