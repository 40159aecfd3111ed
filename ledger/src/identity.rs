//! LEDGER_ID: which ledger this is and how it is written.
//!
//! One JSON line, `{"ledger":"<uuid>","format":1,"crc":"<8 hex>"}`, where `crc` is the CRC-32C of the bytes before
//! `,"crc":`. It gets its name last when a ledger is made, so that its presence means "not new".

use std::io;

use crate::disk::{self, Dir};
use crate::fault::Fault;
use crate::layout;

/// What LEDGER_ID says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The ledger's id, a UUID.
    pub ledger: String,
    /// The version of its format.
    pub format: u32,
}

fn encode(identity: &Identity) -> String {
    let body = format!("{{\"ledger\":\"{}\",\"format\":{}", identity.ledger, identity.format);
    format!("{body},\"crc\":\"{:08x}\"}}\n", crc32c::crc32c(body.as_bytes()))
}

fn decode(bytes: &[u8]) -> Result<Identity, Fault> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Fields {
        ledger: String,
        format: u32,
        #[serde(rename = "crc")]
        _crc: serde::de::IgnoredAny,
    }
    let damaged = || Fault::IdentityDamaged { found: format!("`{}`", bytes[..bytes.len().min(160)].escape_ascii()) };
    let Fields { ledger, format, .. } = serde_json::from_slice(bytes).map_err(|_| damaged())?;
    let identity = Identity { ledger, format };
    if encode(&identity).as_bytes() != bytes || uuid::Uuid::try_parse(&identity.ledger).is_err() {
        return Err(damaged());
    }
    Ok(identity)
}

/// Reads LEDGER_ID. `None` if there is none.
pub(crate) fn read(dir: &dyn Dir) -> io::Result<Option<Result<Identity, Fault>>> {
    match disk::read_file(dir, layout::LEDGER_ID, 4096) {
        Ok(bytes) => Ok(Some(decode(&bytes))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes LEDGER_ID, durable together with its entry in the directory.
pub(crate) fn create(dir: &dyn Dir, ledger: &str, format: u32) -> io::Result<Identity> {
    let identity = Identity { ledger: ledger.to_owned(), format };
    disk::replace_file(dir, layout::LEDGER_ID, encode(&identity).as_bytes())?;
    Ok(identity)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::memory::MemoryDir;

    #[test]
    fn every_bit_of_the_identity_counts() {
        let dir = MemoryDir::new();
        assert_eq!(read(&dir).unwrap(), None);
        let identity = create(&dir, "0190b5a4-3c00-7000-8000-000000000001", 1).unwrap();
        assert_eq!(read(&dir).unwrap(), Some(Ok(identity)));
        let good = dir.files()[layout::LEDGER_ID].clone();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bad).is_err(), "bit {bit}");
        }
        let other = encode(&Identity { ledger: "0190b5a4-3c00-7000-8000-000000000001".into(), format: 9 });
        assert_eq!(decode(other.as_bytes()).unwrap().format, 9);
    }
}
