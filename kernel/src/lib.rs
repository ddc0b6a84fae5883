//! System calls that musterd needs and that no well-kept library makes safe to call: adjtimex(2),
//! madvise(2) for the program's own code, ioctl(2) of [`ethtool`], and the files of [`handed`]. Each
//! is one function with its own `unsafe` block, so that the daemon itself can forbid unsafe code.
//!
//! Must not know what the numbers are shown as.

pub mod ethtool;
pub mod handed;

use std::io;

/// What the kernel says of its clock (adjtimex(2), "The timex structure"). Numbers are in the
/// units of that structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the names are those of the structure
pub struct Clock {
    /// Whether the clock is synchronised: the call's answer is not `TIME_ERROR`.
    pub is_synchronised: bool,
    /// Whether `offset` and `jitter` are in nanoseconds: `STA_NANO`. Microseconds otherwise.
    pub is_nano: bool,
    pub offset: i64,
    pub freq: i64,
    pub maxerror: i64,
    pub esterror: i64,
    pub status: i64,
    pub constant: i64,
    pub tick: i64,
    pub ppsfreq: i64,
    pub jitter: i64,
    pub shift: i64,
    pub stabil: i64,
    pub jitcnt: i64,
    pub calcnt: i64,
    pub errcnt: i64,
    pub stbcnt: i64,
    pub tai: i64,
}

/// Reads the state of the clock; changes nothing.
///
/// # Errors
/// What adjtimex(2) said.
pub fn clock() -> io::Result<Clock> {
    // SAFETY: the structure is plain numbers, for which zero is a value. With `modes` zero the
    // call only writes to the structure, which outlives it.
    #[allow(unsafe_code)]
    let (state, timex) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut timex), timex)
    };
    if state < 0 {
        return Err(io::Error::last_os_error());
    }
    // Their sizes differ from machine to machine.
    #[allow(clippy::unnecessary_cast, clippy::cast_lossless)]
    Ok(Clock {
        is_synchronised: state != libc::TIME_ERROR,
        is_nano: timex.status & libc::STA_NANO != 0,
        offset: timex.offset as i64,
        freq: timex.freq as i64,
        maxerror: timex.maxerror as i64,
        esterror: timex.esterror as i64,
        status: timex.status as i64,
        constant: timex.constant as i64,
        tick: timex.tick as i64,
        ppsfreq: timex.ppsfreq as i64,
        jitter: timex.jitter as i64,
        shift: timex.shift as i64,
        stabil: timex.stabil as i64,
        jitcnt: timex.jitcnt as i64,
        calcnt: timex.calcnt as i64,
        errcnt: timex.errcnt as i64,
        stbcnt: timex.stbcnt as i64,
        tai: timex.tai as i64,
    })
}

/// Gives back the memory of the program's code that nothing has run of late: above all, what was
/// needed to start. Whatever is run again is read from the page cache. Without `/proc` nothing
/// happens.
pub fn give_back_code() {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for (start, length) in maps.lines().filter_map(code) {
        // SAFETY: the range is, as a whole, a private mapping of a file that can be executed and not
        // written: all of its pages are as they are in the file, from which the kernel reads them
        // again. Nothing is unmapped here at the same time: the program unloads no library.
        #[allow(unsafe_code)]
        unsafe {
            libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED);
        }
    }
}

/// The start and length of a line of `/proc/self/maps` (proc_pid_maps(5)) that is a file's code.
fn code(line: &str) -> Option<(usize, usize)> {
    let mut words = line.split_ascii_whitespace();
    let (range, access) = (words.next()?, words.next()?);
    let path = words.nth(3)?;
    let (start, end) = range.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    (access == "r-xp" && path.starts_with('/')).then_some((start, end.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    #[test]
    fn code_is_found_and_goes_on_running() {
        let line = "55d0a000-55d0b000 r-xp 00001000 fe:00 7 /usr/bin/musterd";
        assert_eq!(super::code(line), Some((0x55d0_a000, 0x1000)));
        for line in [
            "55d0a000-55d0b000 rw-p 00001000 fe:00 7 /usr/bin/musterd",
            "55d0a000-55d0b000 r--p 00001000 fe:00 7 /usr/bin/musterd",
            "7ffd000-7ffe000 r-xp 00000000 00:00 0 [vdso]",
            "55d0a000 r-xp",
            "",
        ] {
            assert_eq!(super::code(line), None, "{line}");
        }
        for _ in 0..3 {
            super::give_back_code();
        }
        assert_eq!("still here".to_uppercase(), "STILL HERE");
    }

    #[test]
    fn the_clock_ticks() {
        let clock = super::clock().unwrap();
        assert!((9_000..=11_000).contains(&clock.tick), "{clock:?}");
    }
}
