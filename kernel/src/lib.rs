//! System calls that musterd needs and that no well-kept library makes safe to call: adjtimex(2),
//! giving memory back by malloc_trim(3) and madvise(2), ioctl(2) of [`ethtool`] and [`btrfs`], the files of
//! [`handed`], and what a [`child`] does before it runs its program. Each is one function with its own `unsafe`
//! blocks, so that the daemon itself can forbid unsafe code.
//!
//! Must not know what the numbers are shown as.

pub mod btrfs;
pub mod child;
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

/// Gives back memory that was needed to start and may never be needed again: free heap, and what is mapped of
/// the program and its libraries and stands in their files as well. Whatever of that is used again is mapped
/// again from the page cache. Where there is no `/proc/self/smaps` only heap is given back.
pub fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the allocator's own function (malloc_trim(3)), which may be called at any time.
    #[allow(unsafe_code)]
    unsafe {
        libc::malloc_trim(0);
    }
    let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap_or_default();
    for (start, length) in files_pages(&smaps) {
        // SAFETY: the range is, as a whole, a private mapping of a file that cannot be written and has no page
        // of its own: all are as they are in the file, from which the kernel maps them again. Nothing is
        // mapped or unmapped here at the same time: the program loads and unloads no library.
        #[allow(unsafe_code)]
        unsafe {
            libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED);
        }
    }
}

/// The start and length of the mappings in `/proc/self/smaps` (proc_pid_smaps(5)) that have no pages but a
/// file's own: none that has ever been written (relocated data can no longer be written, but has been).
fn files_pages(smaps: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut mapping = None;
    for line in smaps.lines() {
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match word {
            "Anonymous:" | "Swap:" if rest.trim() != "0 kB" => mapping = None,
            "Swap:" => found.extend(mapping.take()),
            _ if !word.ends_with(':') => mapping = of_file(word, rest),
            _ => {}
        }
    }
    found
}

/// The range of a mapping's first line, if that is of a file, private, and not to be written.
fn of_file(range: &str, rest: &str) -> Option<(usize, usize)> {
    let mut words = rest.split_ascii_whitespace();
    let access = words.next()?;
    let path = words.nth(3)?;
    let (start, end) = range.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    let is_it = matches!(access, "r-xp" | "r--p") && path.starts_with('/');
    is_it.then_some((start, end.checked_sub(start)?))
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_a_files_is_found_and_goes_on_being_there() {
        let of = |first: &str, anonymous: u32, swap: u32| {
            let rest = format!(
                "Rss: 8 kB\nAnonymous: {anonymous} kB\nKSM: 0 kB\nSwap: {swap} kB\nSwapPss: 0 kB\n"
            );
            super::files_pages(&format!("{first}\n{rest}"))
        };
        let code = "55d0a000-55d0b000 r-xp 00001000 fe:00 7    /usr/bin/musterd";
        assert_eq!(of(code, 0, 0), [(0x55d0_a000, 0x1000)]);
        assert_eq!(of(&code.replace("r-xp", "r--p"), 0, 0), [(0x55d0_a000, 0x1000)]);
        for (first, anonymous, swap) in [
            (code, 4, 0),
            (code, 0, 4),
            (&*code.replace("r-xp", "rw-p"), 0, 0),
            (&*code.replace("r-xp", "r--s"), 0, 0),
            ("7ffd000-7ffe000 r-xp 00000000 00:00 0    [vdso]", 0, 0),
            ("55d0a000-55d0b000 r--p 00000000 00:00 0 ", 0, 0),
            ("55d0a000 r-xp", 0, 0),
            ("", 0, 0),
        ] {
            assert_eq!(of(first, anonymous, swap), [], "{first}");
        }
        let both =
            format!("{code}\nAnonymous: 4 kB\nSwap: 0 kB\n{code}\nAnonymous: 0 kB\nSwap: 0 kB\n");
        assert_eq!(super::files_pages(&both).len(), 1);
        let own = std::fs::read_to_string("/proc/self/smaps").unwrap();
        assert!(super::files_pages(&own).len() > 1, "{own}");
        for _ in 0..3 {
            super::give_back_memory();
        }
        assert_eq!("still here".to_uppercase(), "STILL HERE");
    }

    #[test]
    fn the_clock_ticks() {
        let clock = super::clock().unwrap();
        assert!((9_000..=11_000).contains(&clock.tick), "{clock:?}");
    }
}
