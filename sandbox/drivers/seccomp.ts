/**
 * The system calls a confined container may make: a list of what programs need, grouped by purpose.
 *
 * Everything else fails: what is known and refused with EPERM, what is unknown (newer than this list) with ENOSYS, for
 * which every libc has a way around. clone3 gets ENOSYS too: its flags are behind a pointer that a filter cannot read, and
 * libc then uses clone, whose flags it can. Spec: OCI runtime-spec config-linux.md, "Seccomp".
 */

/** `linux.seccomp` of the runtime-spec. */
export interface SeccompProfile {
  readonly defaultAction: string
  readonly defaultErrnoRet?: number
  readonly flags?: readonly string[]
  readonly architectures: readonly string[]
  readonly syscalls: readonly SeccompRule[]
}

/** Calls, what happens to them, and for which arguments. */
export interface SeccompRule {
  readonly names: readonly string[]
  readonly action: string
  readonly errnoRet?: number
  readonly args?: readonly { readonly index: number; readonly value: number; readonly valueTwo?: number; readonly op: string }[]
}

const notPermitted = 1
const notImplemented = 38

const architectures: Readonly<Record<string, readonly string[]>> = {
  x64: ['SCMP_ARCH_X86_64', 'SCMP_ARCH_X86', 'SCMP_ARCH_X32'],
  arm64: ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM'],
  ppc64: ['SCMP_ARCH_PPC64LE'],
  s390x: ['SCMP_ARCH_S390X', 'SCMP_ARCH_S390'],
  riscv64: ['SCMP_ARCH_RISCV64'],
  loong64: ['SCMP_ARCH_LOONGARCH64'],
}

const words = (text: string): readonly string[] => text.trim().split(/\s+/)

const files = words(`
  access faccessat faccessat2 chdir fchdir chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat chroot close
  close_range copy_file_range creat dup dup2 dup3 fadvise64 fallocate fcntl fdatasync fsync flock fstat fstatfs
  ftruncate futimesat getcwd getdents getdents64 getxattr lgetxattr fgetxattr getxattrat listxattr llistxattr flistxattr
  listxattrat setxattr lsetxattr fsetxattr setxattrat removexattr lremovexattr fremovexattr removexattrat inotify_add_watch
  inotify_init inotify_init1 inotify_rm_watch ioctl link linkat lseek mkdir mkdirat mknod mknodat name_to_handle_at
  newfstatat open openat openat2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv
  rename renameat renameat2 rmdir sendfile splice tee vmsplice stat lstat statfs statx statmount listmount symlink symlinkat
  sync sync_file_range syncfs truncate umask unlink unlinkat utime utimensat utimes write writev file_getattr file_setattr
  fanotify_mark cachestat landlock_add_rule landlock_create_ruleset landlock_restrict_self
`)

const memory = words(`
  brk madvise map_shadow_stack membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mprotect mremap mseal
  msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect process_madvise process_mrelease remap_file_pages shmat
  shmctl shmdt shmget
`)

const processes = words(`
  alarm arch_prctl capget capset execve execveat exit exit_group fork futex futex_requeue futex_wait futex_waitv futex_wake
  get_robust_list get_thread_area getcpu getegid geteuid getgid getgroups getitimer getpgid getpgrp getpid getppid
  getpriority getresgid getresuid getrlimit getrusage getsid gettid getuid ioprio_get ioprio_set kill modify_ldt nanosleep
  pause pidfd_getfd pidfd_open pidfd_send_signal prctl prlimit64 process_vm_readv process_vm_writev ptrace restart_syscall
  rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
  rt_tgsigqueueinfo sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam
  sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield
  seccomp set_robust_list set_thread_area set_tid_address setfsgid setfsuid setgid setgroups setitimer setpgid setpriority
  setregid setresgid setresuid setreuid setrlimit setsid setuid sigaltstack tgkill tkill vfork vhangup wait4 waitid kcmp
  uretprobe riscv_hwprobe
`)

const communication = words(`
  accept accept4 bind connect epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait
  epoll_wait_old eventfd eventfd2 getpeername getsockname getsockopt io_cancel io_destroy io_getevents io_pgetevents io_setup
  io_submit listen mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink msgctl msgget msgrcv msgsnd pipe
  pipe2 poll ppoll pselect6 recvfrom recvmmsg recvmsg select semctl semget semop semtimedop sendmmsg sendmsg sendto
  setsockopt shutdown signalfd signalfd4 socketpair
`)

const system = words(`
  adjtimex clock_adjtime clock_getres clock_gettime clock_nanosleep getrandom gettimeofday sysinfo syslog time
  timer_create timer_delete timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime
  times uname lsm_get_self_attr lsm_list_modules
`)

/** The older or wider twins of 32-bit processors. */
const thirtyTwoBit = words(`
  _llseek _newselect arm_fadvise64_64 arm_sync_file_range breakpoint cacheflush set_tls chown32 fchown32 lchown32
  clock_adjtime64 clock_getres_time64 clock_gettime64 clock_nanosleep_time64 fadvise64_64 fcntl64 fstat64 fstatat64 fstatfs64
  ftruncate64 futex_time64 getegid32 geteuid32 getgid32 getgroups32 getresgid32 getresuid32 getuid32 io_pgetevents_time64 ipc
  lstat64 mmap2 mq_timedreceive_time64 mq_timedsend_time64 ppoll_time64 pselect6_time64 recv recvmmsg_time64
  rt_sigtimedwait_time64 sched_rr_get_interval_time64 semtimedop_time64 send sendfile64 setfsgid32 setfsuid32 setgid32
  setgroups32 setregid32 setresgid32 setresuid32 setreuid32 setuid32 sgetmask sigaction sigpending signal sigprocmask
  sigreturn sigsuspend socketcall ssetmask stat64 statfs64 sync_file_range2 timer_gettime64 timer_settime64
  timerfd_gettime64 timerfd_settime64 truncate64 ugetrlimit utimensat_time64 waitpid
`)

/** Known and refused: they reach beyond the container, or have no use in one without further capabilities. */
const refused = words(`
  acct add_key bpf clock_settime clock_settime64 delete_module fanotify_init finit_module fsconfig fsmount fsopen fspick
  init_module io_uring_enter io_uring_register io_uring_setup ioperm iopl kexec_file_load kexec_load keyctl lookup_dcookie
  mbind get_mempolicy set_mempolicy set_mempolicy_home_node migrate_pages move_mount move_pages mount mount_setattr
  open_by_handle_at open_tree perf_event_open pivot_root quotactl quotactl_fd reboot request_key setdomainname sethostname
  setns settimeofday stime swapoff swapon sysfs umount umount2 unshare uselib userfaultfd ustat vm86 vm86old
`)

const allow = 'SCMP_ACT_ALLOW'
const fail = 'SCMP_ACT_ERRNO'

/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. */
const namespaceCloneFlags = 0x7e02_0000

/** Execution domains that programs ask for: Linux, uname26, 32-bit, and "which one am I in?". */
const harmlessPersonalities = [0x0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff]

/** Socket families from which nothing can be reached that the network namespace does not hold: all but vsock and alg. */
const vsockFamily = 40
const algFamily = 38

/** The profile for a processor, by Node's name of it; one that is not known gets the runtime's native one alone. */
export function seccompProfile(architecture: string): SeccompProfile {
  return {
    defaultAction: fail,
    defaultErrnoRet: notImplemented,
    architectures: architectures[architecture] ?? [],
    syscalls: [
      { names: [...files, ...memory, ...processes, ...communication, ...system, ...thirtyTwoBit].sort(), action: allow },
      { names: ['clone'], action: allow, args: [cloneWithoutNamespaces(architecture)] },
      { names: ['clone3'], action: fail, errnoRet: notImplemented },
      ...harmlessPersonalities.map((value) => ({
        names: ['personality'],
        action: allow,
        args: [{ index: 0, value, op: 'SCMP_CMP_EQ' }],
      })),
      { names: ['socket'], action: allow, args: [{ index: 0, value: algFamily, op: 'SCMP_CMP_LT' }] },
      { names: ['socket'], action: allow, args: [{ index: 0, value: algFamily + 1, op: 'SCMP_CMP_EQ' }] },
      { names: ['socket'], action: allow, args: [{ index: 0, value: vsockFamily, op: 'SCMP_CMP_GT' }] },
      { names: refused, action: fail, errnoRet: notPermitted },
    ],
  }
}

function cloneWithoutNamespaces(architecture: string): NonNullable<SeccompRule['args']>[number] {
  const flagsIndex = architecture === 's390x' ? 1 : 0
  return { index: flagsIndex, value: namespaceCloneFlags, valueTwo: 0, op: 'SCMP_CMP_MASKED_EQ' }
}
