//! The order of a worker's calls: which one is its newest.
//!
//! A worker that asks for jobs says what it has left. A call that is older than another may still wait on a connection that is
//! gone, or come late, and what it offers may be taken by now. So a worker numbers its calls, and one that was replaced by a
//! newer one, or answered before, gets nothing.

/// Which call of a worker it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallNumber {
    /// Tells the worker's process from those before it: any number that no other process of this name has.
    pub process: u64,
    /// Grows with every call of the process that registers the worker or asks for jobs.
    pub number: u64,
}

/// How a call stands to the others of its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOrder {
    /// It is the newest, or is not numbered.
    Newest,
    /// There is a newer one, or it was answered.
    Replaced,
    /// Another process has registered under the worker's name.
    OtherProcess,
}

/// The calls of a worker that is registered. None of them numbered: each is taken for the newest.
#[derive(Clone, Copy, Debug, Default)]
pub struct Calls {
    /// The first that was not replaced.
    first: Option<CallNumber>,
}

impl Calls {
    /// What is known once this call has registered the worker; `self` is what was known before.
    #[must_use]
    pub fn registered(self, call: Option<CallNumber>) -> Self {
        let known = |first: &CallNumber| call.is_some_and(|call| call.process == first.process);
        let mut calls = Self { first: self.first.filter(known).or(call) };
        calls.answered(call);
        calls
    }

    /// How a call stands.
    pub fn order(&self, call: Option<CallNumber>) -> CallOrder {
        match (self.first, call) {
            (Some(first), Some(call)) if first.process != call.process => CallOrder::OtherProcess,
            (Some(first), Some(call)) if call.number < first.number => CallOrder::Replaced,
            (Some(_), Some(_)) | (None, _) | (_, None) => CallOrder::Newest,
        }
    }

    /// Takes a call in: those before it are replaced.
    pub fn heard(&mut self, call: Option<CallNumber>) -> CallOrder {
        let order = self.order(call);
        if order == CallOrder::Newest
            && let (Some(first), Some(call)) = (&mut self.first, call)
        {
            *first = call;
        }
        order
    }

    /// A call was answered: should it come again, it is an old one.
    pub fn answered(&mut self, call: Option<CallNumber>) {
        if let (Some(first), Some(call)) = (&mut self.first, call)
            && first.process == call.process
        {
            first.number = first.number.max(call.number.saturating_add(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(process: u64, number: u64) -> Option<CallNumber> {
        Some(CallNumber { process, number })
    }

    #[test]
    fn a_call_is_the_newest_until_another_comes_or_it_is_answered() {
        let mut calls = Calls::default().registered(call(7, 1));
        assert_eq!(calls.order(call(7, 1)), CallOrder::Replaced, "the registration once more");
        assert_eq!(calls.heard(call(7, 3)), CallOrder::Newest);
        assert_eq!(calls.heard(call(7, 2)), CallOrder::Replaced, "it comes late");
        assert_eq!(calls.heard(call(7, 3)), CallOrder::Newest, "it still waits");
        calls.answered(call(7, 3));
        assert_eq!(calls.heard(call(7, 3)), CallOrder::Replaced, "it comes twice");
        assert_eq!(calls.heard(call(7, 4)), CallOrder::Newest);
    }

    #[test]
    fn a_registration_that_comes_late_lets_no_older_call_in() {
        let mut calls = Calls::default().registered(call(7, 1));
        assert_eq!(calls.heard(call(7, 5)), CallOrder::Newest);
        let calls = calls.registered(call(7, 2));
        assert_eq!((calls.order(call(7, 4)), calls.order(call(7, 5))), (CallOrder::Replaced, CallOrder::Newest));
    }

    #[test]
    fn a_new_process_begins_anew_and_ends_the_one_before_it() {
        let mut calls = Calls::default().registered(call(7, 90)).registered(call(8, 1));
        assert_eq!(calls.heard(call(7, 91)), CallOrder::OtherProcess);
        assert_eq!(calls.heard(call(8, 2)), CallOrder::Newest);
    }

    #[test]
    fn calls_without_numbers_are_always_the_newest() {
        let mut calls = Calls::default().registered(None);
        assert_eq!((calls.heard(None), calls.heard(call(7, 1))), (CallOrder::Newest, CallOrder::Newest));
        let mut calls = calls.registered(call(7, 1));
        assert_eq!(calls.heard(None), CallOrder::Newest);
    }
}
