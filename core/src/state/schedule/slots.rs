//! A vector whose places are used again: what leaves costs no memory.

/// Values at small numbers. A number is given out again when its value has left.
#[derive(Debug)]
pub(super) struct Slots<T> {
    slots: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    pub(super) fn insert(&mut self, value: T) -> u32 {
        match self.free.pop() {
            Some(place) => {
                self.slots[place as usize] = Some(value);
                place
            }
            None => {
                self.slots.push(Some(value));
                // Four thousand million values would be out of memory long before.
                u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
            }
        }
    }

    pub(super) fn remove(&mut self, place: u32) -> Option<T> {
        let value = self.slots.get_mut(place as usize)?.take();
        if value.is_some() {
            self.free.push(place);
        }
        value
    }

    /// The value at a place that is known to be taken.
    #[allow(clippy::expect_used)]
    pub(super) fn at(&self, place: u32) -> &T {
        self.slots[place as usize].as_ref().expect("a number is kept only as long as its value")
    }

    #[allow(clippy::expect_used)]
    pub(super) fn at_mut(&mut self, place: u32) -> &mut T {
        self.slots[place as usize].as_mut().expect("a number is kept only as long as its value")
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..).zip(&self.slots).filter_map(|(place, slot)| slot.as_ref().map(|value| (place, value)))
    }
}
