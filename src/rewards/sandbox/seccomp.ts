// A filter of system calls for bubblewrap's --seccomp. It refuses calls that the interpreters do not need and that
// allocate memory outside of any process, or expose much of the kernel, and new namespaces. See seccomp(2) and <linux/filter.h>.

/** Numbers of the refused calls, by architecture. From 424 on the numbers are the same on all architectures. */
const refused: Record<string, { arch: number; clone: number; calls: number[] }> = {
  x64: {
    arch: 0xc000003e,
    clone: 56,
    calls: [
      ...[29, 30, 31], // shmget, shmat, shmctl
      ...[64, 68, 240], // semget, msgget, mq_open
      ...[101, 310, 311], // ptrace, process_vm_readv, process_vm_writev
      ...[155, 161, 165, 166], // pivot_root, chroot, mount, umount2
      ...[175, 246, 313], // init_module, kexec_load, finit_module
      ...[248, 249, 250], // add_key, request_key, keyctl
      ...[272, 308, 304], // unshare, setns, open_by_handle_at
      ...[298, 319, 321, 323], // perf_event_open, memfd_create, bpf, userfaultfd
    ],
  },
  arm64: {
    arch: 0xc00000b7,
    clone: 220,
    calls: [
      ...[194, 195, 196],
      ...[190, 186, 180],
      ...[117, 270, 271],
      ...[41, 51, 40, 39],
      ...[105, 104, 273],
      ...[217, 218, 219],
      ...[97, 268, 265],
      ...[241, 279, 280, 282],
    ],
  },
};
/** Refused on all architectures: io_uring_setup, open_tree, move_mount, fsopen, fsconfig, fsmount, memfd_secret. */
const refusedEverywhere = [425, 428, 429, 430, 431, 432, 447];
/** Fails with ENOSYS: its flags are behind a pointer, which a filter cannot read. Libraries then fall back to clone. */
const clone3 = 435;
/** First number of x86-64's x32 interface, all of which is refused. */
const x32 = 0x40000000;

/** Flags of clone that make namespaces: CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. */
const namespaces = 0x7e020000;

const [load, equal, atLeast, anyBit, end] = [0x20, 0x15, 0x35, 0x45, 0x06];
/** Of the call's number, the architecture, and the first argument's low half. */
const [offsetOfCall, offsetOfArch, offsetOfFlags] = [0, 4, 16];
const allow = 0x7fff0000;
const fail = (errno: number) => 0x00050000 | errno;
const [eperm, enosys] = [1, 38];

/** Assembles the filter as the kernel takes it, 8 bytes per instruction. @returns undefined for an unknown architecture */
export function seccompFilter(architecture: string = process.arch): Buffer | undefined {
  const known = refused[architecture];
  if (!known) return undefined;
  const calls = [...known.calls, ...refusedEverywhere];
  // A test that fails skips the next instruction.
  const when = (test: number, value: number, result: number) => [
    [test, 0, 1, value],
    [end, 0, 0, result],
  ];
  const program = [
    [load, 0, 0, offsetOfArch],
    [equal, 1, 0, known.arch],
    [end, 0, 0, fail(eperm)],
    [load, 0, 0, offsetOfCall],
    ...when(atLeast, x32, fail(eperm)),
    ...when(equal, clone3, fail(enosys)),
    ...calls.flatMap((call) => when(equal, call, fail(eperm))),
    [equal, 0, 3, known.clone],
    [load, 0, 0, offsetOfFlags],
    ...when(anyBit, namespaces, fail(eperm)),
    [end, 0, 0, allow],
  ] as [number, number, number, number][];
  const bytes = Buffer.alloc(8 * program.length);
  program.forEach(([code, ifTrue, ifFalse, value], i) => {
    bytes.writeUInt16LE(code, 8 * i);
    bytes.writeUInt8(ifTrue, 8 * i + 2);
    bytes.writeUInt8(ifFalse, 8 * i + 3);
    bytes.writeUInt32LE(value, 8 * i + 4);
  });
  return bytes;
}
