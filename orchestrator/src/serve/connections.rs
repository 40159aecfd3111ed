//! Who is connected, and who may be: caps on all connections and on those of one address.
//!
//! A connection over which nobody was let in yet is on trial, whatever it asks. When there is no room, the oldest one on
//! trial makes way: those who flood with connections push out each other, and never somebody who is at work.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// How many connections there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Of everybody.
    pub all: usize,
    /// Of one address.
    pub per_address: usize,
}

/// Why a connection is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// There are as many as there may be, and all are at work.
    All,
    /// As many of this address, all at work.
    Address,
}

/// Counts since the start, for `/metrics`.
#[derive(Debug, Default)]
pub struct Counts {
    /// Let in.
    pub accepted: AtomicU64,
    /// Not let in, for want of room.
    pub refused: AtomicU64,
    /// Put out on trial, for others to come in.
    pub evicted: AtomicU64,
    /// Cut because they asked nothing in time, or asked for nothing but trouble.
    pub cut: AtomicU64,
    /// Handshakes that came to nothing.
    pub handshakes_failed: AtomicU64,
    /// Not accepted because the process or the system had no file descriptor left.
    pub no_descriptor: AtomicU64,
}

/// Every connection.
#[derive(Debug)]
pub struct Connections {
    caps: Caps,
    book: Mutex<Book>,
    /// Counts since the start.
    pub counts: Counts,
}

#[derive(Debug, Default)]
struct Book {
    next: u64,
    all: usize,
    /// Those on trial, the oldest first.
    trial: BTreeMap<u64, Key>,
    addresses: HashMap<Key, OfAddress>,
}

#[derive(Debug, Default)]
struct OfAddress {
    all: usize,
    trial: BTreeMap<u64, CancellationToken>,
}

/// What counts as one address: an IPv4 address, or the /64 that one customer of IPv6 has whole.
type Key = IpAddr;

fn key(address: IpAddr) -> Key {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX))),
    }
}

/// The right to be connected, given back when it is dropped.
#[derive(Debug)]
pub struct Pass {
    connections: Arc<Connections>,
    id: u64,
    key: Key,
    /// Told when the connection has to make way.
    pub out: CancellationToken,
}

impl Connections {
    /// Nobody is connected yet.
    pub fn new(caps: Caps) -> Arc<Self> {
        Arc::new(Self { caps, book: Mutex::default(), counts: Counts::default() })
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many connections may be open.
    pub fn caps(&self) -> Caps {
        self.caps
    }

    /// How many are open.
    pub fn open(&self) -> usize {
        self.book().all
    }

    /// Lets a connection in, if there is room or room can be made.
    ///
    /// # Errors
    /// [`Full`].
    pub fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Pass, Full> {
        let key = key(address);
        let mut book = self.book();
        let (all, of_address) = (book.all, book.addresses.get(&key).map_or(0, |entry| entry.all));
        if of_address >= self.caps.per_address && !book.evict_of(key) {
            self.counts.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Full::Address);
        } else if of_address >= self.caps.per_address {
            self.counts.evicted.fetch_add(1, Ordering::Relaxed);
        } else if all >= self.caps.all && !book.evict() {
            self.counts.refused.fetch_add(1, Ordering::Relaxed);
            return Err(Full::All);
        } else if all >= self.caps.all {
            self.counts.evicted.fetch_add(1, Ordering::Relaxed);
        }
        let (id, out) = (book.next, CancellationToken::new());
        book.next += 1;
        book.all += 1;
        book.trial.insert(id, key);
        let entry = book.addresses.entry(key).or_default();
        entry.all += 1;
        entry.trial.insert(id, out.clone());
        self.counts.accepted.fetch_add(1, Ordering::Relaxed);
        Ok(Pass { connections: Arc::clone(self), id, key, out })
    }
}

impl Book {
    /// Puts out the oldest on trial of an address. Its place counts as free at once: what it still holds for a moment
    /// is bounded by one more connection each that was let in.
    fn evict_of(&mut self, key: Key) -> bool {
        let Some(entry) = self.addresses.get_mut(&key) else { return false };
        let Some((id, out)) = entry.trial.pop_first() else { return false };
        out.cancel();
        self.trial.remove(&id);
        self.leave(key);
        true
    }

    fn evict(&mut self) -> bool {
        let Some((_, key)) = self.trial.first_key_value() else { return false };
        self.evict_of(*key)
    }

    fn leave(&mut self, key: Key) {
        self.all = self.all.saturating_sub(1);
        if let Some(entry) = self.addresses.get_mut(&key) {
            entry.all = entry.all.saturating_sub(1);
            if entry.all == 0 {
                self.addresses.remove(&key);
            }
        }
    }

    /// Takes a connection off trial. False if it was off already.
    fn proven(&mut self, id: u64, key: Key) -> bool {
        self.trial.remove(&id).is_some()
            && self.addresses.get_mut(&key).is_some_and(|entry| entry.trial.remove(&id).is_some())
    }
}

impl Pass {
    /// A caller was let in over it: it is at work, and not put out any more.
    pub fn proven(&self) {
        self.connections.book().proven(self.id, self.key);
    }

    /// Counts since the start.
    pub fn counts(&self) -> &Counts {
        &self.connections.counts
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut book = self.connections.book();
        book.proven(self.id, self.key);
        // Who was put out has left the book already.
        if !self.out.is_cancelled() {
            book.leave(self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn who_says_nothing_makes_way_and_who_works_stays() {
        let connections = Connections::new(Caps { all: 3, per_address: 2 });
        let worker = connections.admit(address(1)).unwrap();
        worker.proven();
        let silent = connections.admit(address(1)).unwrap();
        // The address is full; its silent one makes way for the next.
        let next = connections.admit(address(1)).unwrap();
        assert!(silent.out.is_cancelled() && !worker.out.is_cancelled() && !next.out.is_cancelled());
        next.proven();
        assert_eq!(connections.admit(address(1)).unwrap_err(), Full::Address);
        drop(silent);
        assert_eq!(connections.open(), 2);
        // Everybody is welcome until all are three; then the oldest silent one of any address goes.
        let other = connections.admit(address(2)).unwrap();
        let third = connections.admit(address(3)).unwrap();
        assert!(other.out.is_cancelled() && !third.out.is_cancelled());
        third.proven();
        assert_eq!(connections.admit(address(4)).unwrap_err(), Full::All);
        drop((worker, next, other, third));
        assert_eq!(connections.open(), 0);
        let book = connections.book();
        assert!(book.trial.is_empty() && book.addresses.is_empty());
    }

    #[test]
    fn an_address_of_ipv6_is_its_network() {
        let net = |text: &str| key(text.parse().unwrap());
        assert_eq!(net("2001:db8::1"), net("2001:db8::ffff:1"));
        assert_ne!(net("2001:db8::1"), net("2001:db8:0:1::1"));
        assert_eq!(net("::ffff:10.0.0.1"), address(1));
    }
}
