/** A mount as the OCI runtime-spec writes it (config.md, "Mounts"). */
export interface Mount {
  readonly destination: string
  readonly type: string
  readonly source: string
  readonly options: readonly string[]
}
