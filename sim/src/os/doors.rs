//! libc's `socket`, `getaddrinfo` and `pthread_create`: shut for the threads of a simulation, as always for all others.
//!
//! Every other way to the network begins with one of them, name lookups and blocking tasks of tokio included. What is
//! not shut: files, the standard streams, other processes, and system calls that go past libc.

use super::refuse;
use crate::escape::Door;
use libc::{addrinfo, c_char, c_int, c_void, pthread_attr_t, pthread_t};
use std::{cell::Cell, ffi::CStr, mem::transmute};

type GetAddrInfo = unsafe extern "C" fn(*const c_char, *const c_char, *const addrinfo, *mut *mut addrinfo) -> c_int;
type PthreadCreate = unsafe extern "C" fn(
    *mut pthread_t,
    *const pthread_attr_t,
    extern "C" fn(*mut c_void) -> *mut c_void,
    *mut c_void,
) -> c_int;

thread_local! {
    static MAY_START_THREADS: Cell<bool> = const { Cell::new(false) };
}

/// Lets `f` start threads: those that take turns with the simulation.
pub(crate) fn permit_threads<R>(f: impl FnOnce() -> R) -> R {
    let before = MAY_START_THREADS.replace(true);
    let result = f();
    MAY_START_THREADS.set(before);
    result
}

fn set_errno(error: c_int) {
    // SAFETY: libc gives each thread an errno of its own.
    unsafe { *libc::__errno_location() = error };
}

/// libc's own function, which the one of this module hides; null in a program that is linked without a dynamic libc.
fn hidden(symbol: &CStr) -> *mut c_void {
    // SAFETY: `symbol` ends with a zero.
    unsafe { libc::dlsym(libc::RTLD_NEXT, symbol.as_ptr()) }
}

/// libc's `socket(2)`.
///
/// # Safety
/// As libc's, which asks for nothing.
#[unsafe(no_mangle)]
unsafe extern "C" fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    if refuse(Door::Socket) {
        set_errno(libc::EPERM);
        return -1;
    }
    // SAFETY: the call touches no memory.
    unsafe { libc::syscall(libc::SYS_socket, domain, kind, protocol) as c_int }
}

/// libc's `getaddrinfo`.
///
/// # Safety
/// As libc's: strings end with a zero, `hints` is null or valid, `result` can be written to.
#[unsafe(no_mangle)]
unsafe extern "C" fn getaddrinfo(
    node: *const c_char,
    service: *const c_char,
    hints: *const addrinfo,
    result: *mut *mut addrinfo,
) -> c_int {
    if refuse(Door::Lookup) {
        set_errno(libc::EPERM);
        return libc::EAI_SYSTEM;
    }
    let function = hidden(c"getaddrinfo");
    if function.is_null() {
        return libc::EAI_FAIL;
    }
    // SAFETY: it is the function of this name and type, and the caller's promises are passed on.
    unsafe { transmute::<*mut c_void, GetAddrInfo>(function)(node, service, hints, result) }
}

/// libc's `pthread_create`. Not in fuzz targets: their sanitizers put their own in its place, and need it.
///
/// # Safety
/// As libc's: `thread` can be written to, `attributes` is null or valid, `start` may be called with `argument`.
#[cfg_attr(not(fuzzing), unsafe(no_mangle))]
#[cfg_attr(fuzzing, expect(dead_code, reason = "the sanitizers' own is in its place"))]
unsafe extern "C" fn pthread_create(
    thread: *mut pthread_t,
    attributes: *const pthread_attr_t,
    start: extern "C" fn(*mut c_void) -> *mut c_void,
    argument: *mut c_void,
) -> c_int {
    if !MAY_START_THREADS.try_with(Cell::get).unwrap_or(false) && refuse(Door::Thread) {
        // Not EAGAIN, after which tokio would leave a blocking task to a thread that may never come.
        return libc::EPERM;
    }
    let function = hidden(c"pthread_create");
    if function.is_null() {
        return libc::EAGAIN;
    }
    // SAFETY: it is the function of this name and type, and the caller's promises are passed on.
    unsafe { transmute::<*mut c_void, PthreadCreate>(function)(thread, attributes, start, argument) }
}
