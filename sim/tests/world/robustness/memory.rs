//! How much memory something takes at most, on this thread.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

thread_local! {
    static NOW_BYTES: Cell<isize> = const { Cell::new(0) };
    static PEAK_BYTES: Cell<isize> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

fn count(bytes: isize) {
    // Not while a thread ends.
    let _ = NOW_BYTES.try_with(|now| {
        now.set(now.get() + bytes);
        let _ = PEAK_BYTES.try_with(|peak| peak.set(peak.get().max(now.get())));
    });
}

fn signed(bytes: usize) -> isize {
    isize::try_from(bytes).expect("no allocation is larger")
}

// SAFETY: all is done by the system's allocator; `realloc` and `alloc_zeroed` come here through their defaults.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(signed(layout.size()));
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-signed(layout.size()));
        // SAFETY: the caller's promises are the same.
        unsafe { System.dealloc(pointer, layout) }
    }
}

/// What `work` gives, and how many bytes more than before it were in use at its height.
pub(crate) fn peak_bytes_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = NOW_BYTES.get();
    PEAK_BYTES.set(before);
    let done = work();
    (done, usize::try_from(PEAK_BYTES.get() - before).unwrap())
}
