//! What the kernel writes about one process, parsed: `/proc/<pid>/{stat,status,io,limits}`
//! (proc_pid_stat(5) and its neighbours), and the boot time from `/proc/stat`.
//!
//! Pure functions over bytes. Must not know where the bytes come from or what is made of them.

/// Two counters that always come together.
pub(super) type Pair = [u64; 2];

/// The process was forked and has not called execve(2) since (`PF_FORKNOEXEC`).
const FORKED: u64 = 0x40;
/// A thread of the kernel's own (`PF_KTHREAD`).
const KERNEL_THREAD: u64 = 0x0020_0000;

/// The state letter of `stat`, in the classes that are exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// `R`.
    Running,
    /// `S`.
    Sleeping,
    /// `D`: waiting for a device, not to be interrupted.
    Waiting,
    /// `Z`.
    Zombie,
    /// Stopped, traced, idle and whatever comes to be.
    Other,
}

impl State {
    /// By its letter.
    fn of(letter: &[u8]) -> Self {
        match letter {
            b"R" => Self::Running,
            b"S" => Self::Sleeping,
            b"D" => Self::Waiting,
            b"Z" => Self::Zombie,
            _ => Self::Other,
        }
    }
}

/// What is used of `/proc/<pid>/stat`, but for the command name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) state: State,
    pub(super) parent: u32,
    /// Forked, and still running its parent's program.
    pub(super) forked: bool,
    /// Minor and major page faults.
    pub(super) faults: Pair,
    /// Clock ticks in user and in system mode.
    pub(super) cpu_ticks: Pair,
    pub(super) threads: u64,
    /// Clock ticks from boot to its start: with the pid, what tells it from any other process.
    pub(super) start_ticks: u64,
    pub(super) virtual_bytes: u64,
    pub(super) resident_pages: u64,
}

/// What is used of `/proc/<pid>/status` and `/proc/<pid>/task/<tid>/status`: what `stat` lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) state: State,
    pub(super) swapped_bytes: u64,
    /// Voluntary and involuntary context switches of one thread: the main one, or that of the file.
    pub(super) switches: Pair,
}

/// Parses `/proc/<pid>/stat` into the command name and the rest.
///
/// The name may hold anything, spaces, parentheses and line feeds too; it ends at the last
/// parenthesis, as only numbers follow. A kernel thread's name ends before its first slash: what
/// follows is a processor, a device or the work of the moment (`kworker/0:1-events`), so that it
/// names no command but an instance, and changes at any time.
pub(super) fn parse_stat(text: &[u8]) -> Option<(&[u8], Stat)> {
    let open = text.iter().position(|&byte| byte == b'(')?;
    let close = text.iter().rposition(|&byte| byte == b')')?;
    let name = text.get(open + 1..close)?;
    let mut fields = words(text.get(close + 1..)?);
    let state = State::of(fields.next()?);
    let parent = u32::try_from(number(fields.next()?)?).ok()?;
    // Each step skips fields of no use: group, session, terminal; children's faults; and so on.
    let mut next = |skipped: usize| number(fields.nth(skipped)?);
    let flags = next(4)?;
    let faults = [next(0)?, next(1)?];
    let cpu_ticks = [next(1)?, next(0)?];
    let stat = Stat {
        state,
        parent,
        forked: flags & FORKED != 0,
        faults,
        cpu_ticks,
        threads: next(4)?,
        start_ticks: next(1)?,
        virtual_bytes: next(0)?,
        resident_pages: next(0)?,
    };
    let name = match name.iter().position(|&byte| byte == b'/') {
        Some(slash) if flags & KERNEL_THREAD != 0 => name.get(..slash)?,
        _ => name,
    };
    Some((name, stat))
}

/// Parses `/proc/<pid>/status`. A process without memory of its own (a kernel thread, a zombie)
/// has no `VmSwap`, and nothing swapped.
pub(super) fn parse_status(text: &[u8]) -> Option<Status> {
    let (mut state, mut swapped) = (None, 0);
    let (mut voluntary, mut involuntary) = (None, None);
    for (key, value) in lines(text) {
        match key {
            b"State" => state = value.get(..1).map(State::of),
            b"VmSwap" => swapped = number(value.strip_suffix(b" kB")?.trim_ascii())?,
            b"voluntary_ctxt_switches" => voluntary = number(value),
            b"nonvoluntary_ctxt_switches" => involuntary = number(value),
            _ => {}
        }
    }
    let swapped_bytes = swapped.checked_mul(1024)?;
    Some(Status { state: state?, swapped_bytes, switches: [voluntary?, involuntary?] })
}

/// The effective user of `/proc/<pid>/status`: the second of the line `Uid`.
pub(super) fn parse_effective_uid(text: &[u8]) -> Option<u32> {
    let (_, uids) = lines(text).find(|(key, _)| *key == b"Uid")?;
    u32::try_from(number(words(uids).nth(1)?)?).ok()
}

/// Parses `/proc/<pid>/io` into the bytes read from and written to storage.
pub(super) fn parse_io(text: &[u8]) -> Option<Pair> {
    let (mut read, mut written) = (None, None);
    for (key, value) in lines(text) {
        match key {
            b"read_bytes" => read = number(value),
            b"write_bytes" => written = number(value),
            _ => {}
        }
    }
    Some([read?, written?])
}

/// Parses `/proc/<pid>/smaps_rollup` into the bytes in memory and swapped out, of which each page is
/// divided by the processes that share it.
pub(super) fn parse_proportional(text: &[u8]) -> Option<Pair> {
    let (mut resident, mut swapped) = (None, None);
    for (key, value) in lines(text) {
        let bytes = || number(value.strip_suffix(b" kB")?.trim_ascii())?.checked_mul(1024);
        match key {
            b"Pss" => resident = bytes(),
            b"SwapPss" => swapped = bytes(),
            _ => {}
        }
    }
    Some([resident?, swapped?])
}

/// Parses `/proc/<pid>/task/<tid>/wchan` into the name of the kernel's function that the thread waits
/// in. One that does not wait, or whose waiting may not be seen, has `0`.
pub(super) fn parse_wchan(text: &[u8]) -> Option<&[u8]> {
    let name = text.trim_ascii();
    (!matches!(name, b"" | b"0")).then_some(name)
}

/// Parses `/proc/<pid>/limits` into the soft limit of open files; no limit is `u64::MAX`.
pub(super) fn parse_fd_limit(text: &[u8]) -> Option<u64> {
    let soft = text
        .split(|&byte| byte == b'\n')
        .find_map(|line| words(line.strip_prefix(b"Max open files")?).next())?;
    if soft == b"unlimited" { Some(u64::MAX) } else { number(soft) }
}

/// Parses the line `btime` of `/proc/stat`: seconds from the epoch to boot.
pub(super) fn parse_boot_time(text: &[u8]) -> Option<u64> {
    let value =
        text.split(|&byte| byte == b'\n').rev().find_map(|line| line.strip_prefix(b"btime "))?;
    number(value.trim_ascii())
}

/// A whole number in decimal digits, and nothing else.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// The lines of the form `key: value`.
fn lines(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    text.split(|&byte| byte == b'\n').filter_map(|line| {
        let colon = line.iter().position(|&byte| byte == b':')?;
        Some((line.get(..colon)?, line.get(colon + 1..)?.trim_ascii()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBERS: &str = " S 7 42 42 34816 42 4194368 100 5 20 6 300 400 8 9 20 0 3 0 5000 8192000 \
                           250 18446744073709551615 1 1 0 0\n";

    fn stat(name: &[u8]) -> Vec<u8> {
        [b"42 (", name, b")", NUMBERS.as_bytes()].concat()
    }

    #[test]
    fn stat_is_read_whatever_the_name() {
        let names: [&[u8]; 8] = [
            b"sleep",
            b"tmux: server",
            b"(sd-pam)",
            b"a) R 1 (b",
            b")",
            b"",
            b"two\nlines",
            b"\xff\xfe/x",
        ];
        let expected = Stat {
            state: State::Sleeping,
            parent: 7,
            forked: true,
            faults: [100, 20],
            cpu_ticks: [300, 400],
            threads: 3,
            start_ticks: 5000,
            virtual_bytes: 8_192_000,
            resident_pages: 250,
        };
        for name in names {
            assert_eq!(parse_stat(&stat(name)), Some((name, expected)));
        }
    }

    #[test]
    fn a_kernel_thread_is_named_without_its_instance() {
        let flags = (KERNEL_THREAD | 0x40).to_string();
        let name = |name: &[u8]| {
            let text = String::from_utf8(stat(name)).unwrap().replace("4194368", &flags);
            String::from_utf8(parse_stat(text.as_bytes()).unwrap().0.to_vec()).unwrap()
        };
        assert_eq!(name(b"kworker/u8:3-flush-254:0"), "kworker");
        assert_eq!(name(b"kthreadd"), "kthreadd");
    }

    #[test]
    fn states_are_classed() {
        let state = |letter: &str| {
            let text = String::from_utf8(stat(b"x")).unwrap().replacen(" S ", letter, 1);
            parse_stat(text.as_bytes()).unwrap().1.state
        };
        assert_eq!(state(" R "), State::Running);
        assert_eq!(state(" D "), State::Waiting);
        assert_eq!(state(" Z "), State::Zombie);
        assert_eq!(state(" T "), State::Other);
        assert_eq!(state(" I "), State::Other);
    }

    #[test]
    fn status_io_and_limits_are_read() {
        let status = b"Name:\tx\\ny\nState:\tD (disk sleep)\nVmSwap:\t      12 kB\nvoluntary_ctxt_switches:\t31\n\
                       nonvoluntary_ctxt_switches:\t4\n";
        let state = State::Waiting;
        let wanted = Status { state, swapped_bytes: 12 * 1024, switches: [31, 4] };
        assert_eq!(parse_status(status), Some(wanted));
        assert_eq!(parse_effective_uid(b"Name:\tx\nUid:\t7\t1000\t7\t7\nGid:\t1\n"), Some(1000));
        let kernel = b"Name:\tk\nState:\tI (idle)\nvoluntary_ctxt_switches:\t1\nnonvoluntary_ctxt_switches:\t2\n";
        let wanted = Status { state: State::Other, swapped_bytes: 0, switches: [1, 2] };
        assert_eq!(parse_status(kernel), Some(wanted));
        let io = b"rchar: 1\nwchar: 2\nread_bytes: 4096\nwrite_bytes: 8192\n\
                   cancelled_write_bytes: 5\n";
        assert_eq!(parse_io(io), Some([4096, 8192]));
        let rollup = b"00400000-7ff000000000 ---p 00000000 00:00 0    [rollup]\nRss:     900 kB\n\
                       Pss:                 12 kB\nPss_Anon:  7 kB\nSwapPss:              1 kB\n";
        assert_eq!(parse_proportional(rollup), Some([12 * 1024, 1024]));
        assert_eq!(parse_wchan(b"do_epoll_wait"), Some(&b"do_epoll_wait"[..]));
        assert_eq!((parse_wchan(b"0"), parse_wchan(b"")), (None, None));
        let limits = |soft: &str| {
            parse_fd_limit(
                format!("Limit  Soft\nMax open files            {soft}   4096    files\n")
                    .as_bytes(),
            )
        };
        assert_eq!(limits("1024"), Some(1024));
        assert_eq!(limits("unlimited"), Some(u64::MAX));
        assert_eq!(limits("many"), None);
        assert_eq!(parse_boot_time(b"cpu 1 2\nbtime 1700000000\nprocesses 3\n"), Some(1700000000));
    }

    #[test]
    fn rubbish_is_refused() {
        let whole = stat(b"x y");
        let needed = whole.windows(4).position(|four| four == b" 250").unwrap() + 2;
        for end in 0..needed {
            assert_eq!(parse_stat(&whole[..end]), None, "cut at {end}");
        }
        let texts: [&[u8]; 8] = [
            b"",
            b"\n",
            b")(",
            b"1 (x) S",
            b"\xff\x00\xfe:\xff\n",
            b"VmSwap: 99999999999999999999 kB\nread_bytes: -1\nMax open files",
            b"VmSwap: 18014398509481985 kB\nvoluntary_ctxt_switches: 1\n\
              nonvoluntary_ctxt_switches: 1\n",
            b"1 (x) S 99999999999999999999 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
        ];
        for text in texts {
            assert_eq!(parse_stat(text), None);
            assert_eq!(parse_status(text), None);
            assert_eq!(parse_effective_uid(text), None);
            assert_eq!(parse_io(text), None);
            assert_eq!(parse_proportional(text), None);
            assert_eq!(parse_fd_limit(text), None);
            assert_eq!(parse_boot_time(text), None);
        }
    }
}
