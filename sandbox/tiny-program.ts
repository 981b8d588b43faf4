/**
 * A whole program in some 130 bytes: it exits with 0. For probing a runtime where no image and no shell can be counted on.
 *
 * Layout: an ELF header, one program header, the code; see elf(5).
 */

/** For each processor (Node's name): the ELF machine number and the code of `exit(0)`. */
const machines: Readonly<Record<string, { readonly machine: number; readonly code: readonly number[] }>> = {
  // mov eax, 60; xor edi, edi; syscall
  x64: { machine: 62, code: [0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05] },
  // mov x8, #93; mov x0, #0; svc #0
  arm64: { machine: 183, code: [0xa8, 0x0b, 0x80, 0xd2, 0x00, 0x00, 0x80, 0xd2, 0x01, 0x00, 0x00, 0xd4] },
  // li a7, 93; li a0, 0; ecall
  riscv64: { machine: 243, code: [0x93, 0x08, 0xd0, 0x05, 0x13, 0x05, 0x00, 0x00, 0x73, 0x00, 0x00, 0x00] },
}

const headerSize = 64
const programHeaderSize = 56
const loadAddress = 0x40_0000

/** The bytes of the program, or undefined for a processor that has none here. */
export function exitProgram(architecture: string): Uint8Array | undefined {
  const machine = machines[architecture]
  if (machine === undefined) return undefined
  const codeAt = headerSize + programHeaderSize
  const file = Buffer.alloc(codeAt + machine.code.length)
  // Class 64-bit, little-endian, version 1; then executable, machine, version.
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1], 0)
  file.writeUInt16LE(2, 16)
  file.writeUInt16LE(machine.machine, 18)
  file.writeUInt32LE(1, 20)
  file.writeBigUInt64LE(BigInt(loadAddress + codeAt), 24)
  file.writeBigUInt64LE(BigInt(headerSize), 32)
  file.writeUInt16LE(headerSize, 52)
  file.writeUInt16LE(programHeaderSize, 54)
  file.writeUInt16LE(1, 56)
  // One loadable segment, readable and executable: the whole file.
  file.writeUInt32LE(1, headerSize)
  file.writeUInt32LE(5, headerSize + 4)
  file.writeBigUInt64LE(BigInt(loadAddress), headerSize + 16)
  file.writeBigUInt64LE(BigInt(loadAddress), headerSize + 24)
  file.writeBigUInt64LE(BigInt(file.length), headerSize + 32)
  file.writeBigUInt64LE(BigInt(file.length), headerSize + 40)
  file.writeBigUInt64LE(0x1000n, headerSize + 48)
  file.set(machine.code, codeAt)
  return file
}
