//! The key that the output is sorted by: contract name, version, identity, seq.
//!
//! Comparing two keys as bytes compares these four in turn: a name has no zero byte, so the one that ends it sorts
//! before every longer name; numbers are big-endian; identities of one contract are free of prefixes.

use orch_core::id::{ContractRef, Seq};

/// The bytes of a seq, with which a key ends.
const SEQ_BYTES: usize = 8;

/// Makes `key` that of a candidate.
pub(crate) fn encode(contract: &ContractRef, identity: &[u8], seq: Seq, key: &mut Vec<u8>) {
    key.clear();
    key.extend_from_slice(contract.name.as_str().as_bytes());
    key.push(0);
    key.extend_from_slice(&contract.version.to_be_bytes());
    key.extend_from_slice(identity);
    key.extend_from_slice(&seq.0.to_be_bytes());
}

/// The key without its seq: equal for two candidates that are the same.
pub(crate) fn identity(key: &[u8]) -> &[u8] {
    &key[..key.len().saturating_sub(SEQ_BYTES)]
}

/// The seq of a key.
pub(crate) fn seq(key: &[u8]) -> Seq {
    Seq(key.last_chunk::<SEQ_BYTES>().map_or(0, |bytes| u64::from_be_bytes(*bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_by_contract_then_version_then_identity_then_seq() {
        let rows: [(&str, &[u8], u64); 7] = [
            ("a@2", b"z", 9),
            ("a@10", b"a", 300),
            ("a@10", b"a", 70_000),
            ("a@10", b"b", 1),
            ("a-b@1", b"a", 1),
            ("a/b@1", b"a", 1),
            ("b@1", b"", 1),
        ];
        let keys = rows.map(|(contract, id, at)| {
            let mut bytes = Vec::new();
            encode(&contract.parse().unwrap(), id, Seq(at), &mut bytes);
            assert_eq!(seq(&bytes), Seq(at));
            bytes
        });
        assert!(keys.is_sorted());
        assert_eq!(identity(&keys[1]), identity(&keys[2]));
        assert_ne!(identity(&keys[2]), identity(&keys[3]));
    }
}
