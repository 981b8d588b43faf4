/** The public API of the library. */
export { build } from './build.js'
export { type CheckResult, check, fixSource, format, lintFile, lintSource, outline, targets } from './check.js'
export type { BuildEvent } from './core/context.js'
export type { Diagnostic } from './core/diagnostic.js'
export {
  BuildError,
  CancelledError,
  DockerfileError,
  type ErrorCode,
  RegistryError,
  SandboxError,
  SolveError,
  StoreError,
} from './core/errors.js'
export { type ImportOptions, importImage } from './engine/import.js'
export { type LoadedImage, type LoadOptions, loadImages } from './engine/load.js'
export type {
  AnnotationLevel,
  BuildOptions,
  BuildOutput,
  BuildResult,
  BuiltStep,
  CompressionOptions,
  DockerfileSource,
  EngineOptions,
  ImageAnnotation,
  PullPolicy,
  SecretSource,
} from './engine/options.js'
export { type SaveOptions, saveImages } from './engine/save.js'
export { type PullOptions, type PullResult, type PushOptions, pullImage, pushImages } from './engine/transfer.js'
export type { Amount, GcSettings } from './store/policy.js'
