//! Sums and copies of tensors between processes: libtorch's own store and process group (c10d over Gloo), which
//! `collectives.cpp` calls.
//!
//! Neither knows who calls: whoever reaches the addresses takes part. They belong into a network of their own.

// FFI: pointers to live tensors and to what the other side has allocated.
#![allow(unsafe_code)]

use std::ffi::{CString, c_char, c_int, c_void};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::IntoRawFd as _;
use std::ptr::null_mut;
use std::time::Duration;

use tch::Tensor;
use torch_sys::C_tensor;

use super::call::checked;

unsafe extern "C" {
    fn anytime_store_open(
        host: *const c_char,
        port: u16,
        listener: c_int,
        timeout: i64,
        output: *mut *mut c_void,
    ) -> *mut c_char;
    fn anytime_store_close(store: *mut c_void);
    fn anytime_store_set(store: *mut c_void, key: *const c_char, bytes: *const u8, count: i64) -> *mut c_char;
    fn anytime_store_add(store: *mut c_void, key: *const c_char, number: i64, output: *mut i64) -> *mut c_char;
    fn anytime_store_has(store: *mut c_void, key: *const c_char, output: *mut bool) -> *mut c_char;
    fn anytime_store_get(
        store: *mut c_void,
        key: *const c_char,
        bytes: *mut u8,
        room: i64,
        output: *mut i64,
    ) -> *mut c_char;
    fn anytime_store_wait(store: *mut c_void, key: *const c_char, timeout: i64, output: *mut bool) -> *mut c_char;
    fn anytime_store_delete(store: *mut c_void, key: *const c_char) -> *mut c_char;
    fn anytime_group_join(
        store: *mut c_void,
        prefix: *const c_char,
        address: *const c_char,
        rank: c_int,
        world: c_int,
        joining: i64,
        timeout: i64,
        output: *mut *mut c_void,
    ) -> *mut c_char;
    fn anytime_group_leave(group: *mut c_void);
    fn anytime_group_sum(group: *mut c_void, tensor: *const C_tensor) -> *mut c_char;
    fn anytime_group_sum_at(group: *mut c_void, tensor: *const C_tensor, to: c_int) -> *mut c_char;
    fn anytime_group_largest(group: *mut c_void, tensor: *const C_tensor) -> *mut c_char;
    fn anytime_group_send(group: *mut c_void, tensor: *const C_tensor, to: c_int) -> *mut c_char;
    fn anytime_group_receive(group: *mut c_void, tensor: *const C_tensor, from: c_int) -> *mut c_char;
    fn anytime_group_copy(group: *mut c_void, tensor: *const C_tensor, from: c_int) -> *mut c_char;
}

/// The largest value that [`Store::get`] reads, in bytes.
const LARGEST_VALUE: usize = 1 << 20;

/// A small table of texts that processes share over the network; the one that serves it is where the others meet.
pub struct Store(*mut c_void);

// SAFETY: c10d's store locks whatever it does, so that any thread may call it.
unsafe impl Send for Store {}
unsafe impl Sync for Store {}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: made by `anytime_store_open`, and closed once.
        unsafe { anytime_store_close(self.0) };
    }
}

impl Store {
    /// Serves a store on this listening socket.
    ///
    /// # Errors
    /// libtorch's text.
    pub fn serve(listener: TcpListener, timeout: Duration) -> Result<Self, String> {
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        // The one that serves is a caller of its own store, and reaches every address as this machine.
        let ip = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
            ip => ip,
        };
        Self::open(&ip.to_string(), address.port(), listener.into_raw_fd(), timeout)
    }

    /// Connects to a store.
    ///
    /// # Errors
    /// libtorch's text, where it does not answer in this time.
    pub fn connect(address: SocketAddr, timeout: Duration) -> Result<Self, String> {
        Self::open(&address.ip().to_string(), address.port(), -1, timeout)
    }

    fn open(host: &str, port: u16, listener: c_int, timeout: Duration) -> Result<Self, String> {
        let host = text(host)?;
        let mut store = null_mut();
        // SAFETY: a text that lives as long as the call, and a socket that nobody else closes.
        unsafe {
            checked(anytime_store_open(
                host.as_ptr(),
                port,
                listener,
                milliseconds(timeout),
                &mut store,
            ))?
        };
        Ok(Self(store))
    }

    /// Writes a value, which all others see when this returns.
    ///
    /// # Errors
    /// libtorch's text, where the store is gone.
    pub fn set(&self, key: &str, value: &[u8]) -> Result<(), String> {
        let key = text(key)?;
        // SAFETY: a store that lives, a text, and a slice with its length.
        unsafe {
            checked(anytime_store_set(
                self.0,
                key.as_ptr(),
                value.as_ptr(),
                value.len() as i64,
            ))
        }
    }

    /// Adds to a number, which begins at 0, and gives the sum.
    ///
    /// # Errors
    /// libtorch's text, where the store is gone.
    pub fn add(&self, key: &str, number: i64) -> Result<i64, String> {
        let key = text(key)?;
        let mut sum = 0;
        // SAFETY: as above.
        unsafe { checked(anytime_store_add(self.0, key.as_ptr(), number, &mut sum))? };
        Ok(sum)
    }

    /// The value of a key; None where it is not there.
    ///
    /// # Errors
    /// libtorch's text, where the store is gone; or that the value is too long.
    pub fn get(&self, key: &str) -> Result<Option<Vec<u8>>, String> {
        let name = text(key)?;
        let (mut has, mut count) = (false, 0);
        // SAFETY: as above.
        unsafe { checked(anytime_store_has(self.0, name.as_ptr(), &mut has))? };
        if !has {
            return Ok(None);
        }
        let mut bytes = vec![0; LARGEST_VALUE];
        let room = bytes.len() as i64;
        // SAFETY: as above, and room for what is copied.
        unsafe {
            checked(anytime_store_get(
                self.0,
                name.as_ptr(),
                bytes.as_mut_ptr(),
                room,
                &mut count,
            ))?;
        }
        if count > room {
            return Err(format!(
                "the value of {key} has {count} bytes, more than {LARGEST_VALUE}"
            ));
        }
        bytes.truncate(usize::try_from(count).unwrap_or(0));
        Ok(Some(bytes))
    }

    /// Whether a key is there, or comes within this time.
    ///
    /// # Errors
    /// libtorch's text, where the store is gone.
    pub fn wait(&self, key: &str, timeout: Duration) -> Result<bool, String> {
        let key = text(key)?;
        let mut has = false;
        // SAFETY: as above.
        unsafe {
            checked(anytime_store_wait(
                self.0,
                key.as_ptr(),
                milliseconds(timeout),
                &mut has,
            ))?
        };
        Ok(has)
    }

    /// Forgets a key.
    ///
    /// # Errors
    /// libtorch's text, where the store is gone.
    pub fn delete(&self, key: &str) -> Result<(), String> {
        let key = text(key)?;
        // SAFETY: as above.
        unsafe { checked(anytime_store_delete(self.0, key.as_ptr())) }
    }
}

/// Processes that compute together. All of them call the same functions in the same order; a call ends with an error
/// where another is gone, or has not come to it in the time that the group was made with. A group with an error is over.
pub struct Group {
    group: *mut c_void,
    rank: usize,
    world: usize,
}

// SAFETY: c10d's group locks whatever it does; the order of calls is the owner's matter.
unsafe impl Send for Group {}

impl Drop for Group {
    fn drop(&mut self) {
        // SAFETY: made by `anytime_group_join`, and left once.
        unsafe { anytime_group_leave(self.group) };
    }
}

impl Group {
    /// Joins the group of `world` processes that meet in the store under `name`, which no other group has had. `address` is
    /// where the others reach this process. Returns when all of them are there, for which it waits as long as the first of
    /// the two times says; the second is for every later call.
    ///
    /// # Errors
    /// libtorch's text, also where the others do not come in time.
    pub fn join(
        store: &Store,
        name: &str,
        address: IpAddr,
        (rank, world): (usize, usize),
        (joining, timeout): (Duration, Duration),
    ) -> Result<Self, String> {
        let (name, address) = (text(name)?, text(&address.to_string())?);
        let number = |count: usize| c_int::try_from(count).map_err(|_| format!("{count} is too large a rank"));
        let (of, all, mut group) = (number(rank)?, number(world)?, null_mut());
        // SAFETY: a store that lives, and texts that live as long as the call.
        unsafe {
            checked(anytime_group_join(
                store.0,
                name.as_ptr(),
                address.as_ptr(),
                of,
                all,
                milliseconds(joining),
                milliseconds(timeout),
                &mut group,
            ))?;
        }
        Ok(Self { group, rank, world })
    }

    /// Which of the processes this is, from 0.
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// How many there are.
    pub fn world(&self) -> usize {
        self.world
    }

    /// Makes a tensor the sum of those of all processes, with the same bits on each. It is contiguous and on the CPU.
    ///
    /// # Errors
    /// libtorch's text; the tensor has no meaning then.
    pub fn sum(&self, tensor: &Tensor) -> Result<(), String> {
        // SAFETY: a group that lives and a live tensor, which is changed before the call returns.
        unsafe { checked(anytime_group_sum(self.group, tensor.as_ptr())) }
    }

    /// Makes the tensor of process `to` the sum of those of all processes; those of the others mean nothing then. It is
    /// contiguous and on the CPU.
    ///
    /// # Errors
    /// libtorch's text; the tensor has no meaning then.
    pub fn sum_at(&self, tensor: &Tensor, to: usize) -> Result<(), String> {
        let to = c_int::try_from(to).map_err(|error| error.to_string())?;
        // SAFETY: as above.
        unsafe { checked(anytime_group_sum_at(self.group, tensor.as_ptr(), to)) }
    }

    /// Makes each element the largest of those of all processes. The tensor is contiguous and on the CPU.
    ///
    /// # Errors
    /// libtorch's text; the tensor has no meaning then.
    pub fn largest(&self, tensor: &Tensor) -> Result<(), String> {
        // SAFETY: as above.
        unsafe { checked(anytime_group_largest(self.group, tensor.as_ptr())) }
    }

    /// Sends a tensor to process `to`, which calls [`receive`](Self::receive). It is contiguous and on the CPU.
    ///
    /// # Errors
    /// libtorch's text.
    pub fn send(&self, tensor: &Tensor, to: usize) -> Result<(), String> {
        let to = c_int::try_from(to).map_err(|error| error.to_string())?;
        // SAFETY: as above.
        unsafe { checked(anytime_group_send(self.group, tensor.as_ptr(), to)) }
    }

    /// Fills a tensor with the one that process `from` sends, which has its size and kind. It is contiguous and on the CPU.
    ///
    /// # Errors
    /// libtorch's text; the tensor has no meaning then.
    pub fn receive(&self, tensor: &Tensor, from: usize) -> Result<(), String> {
        let from = c_int::try_from(from).map_err(|error| error.to_string())?;
        // SAFETY: as above.
        unsafe { checked(anytime_group_receive(self.group, tensor.as_ptr(), from)) }
    }

    /// Copies the tensor of process `from` over those of the others, which have its size and kind. It is contiguous and on
    /// the CPU.
    ///
    /// # Errors
    /// libtorch's text; the tensor has no meaning then.
    pub fn copy(&self, tensor: &Tensor, from: usize) -> Result<(), String> {
        let from = c_int::try_from(from).map_err(|error| error.to_string())?;
        // SAFETY: as above.
        unsafe { checked(anytime_group_copy(self.group, tensor.as_ptr(), from)) }
    }
}

fn text(text: &str) -> Result<CString, String> {
    CString::new(text).map_err(|_| format!("{text:?} holds a zero byte"))
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
