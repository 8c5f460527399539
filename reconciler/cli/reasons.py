"""The reasons that events can have, for completion and for telling a misspelt one."""

KNOWN = frozenset(
    """
    AdoptIgnored AdoptRefused Adopted AsAsked AsDeclared AuthenticationFailed BackOff BinaryMissing
    BinaryNotAllowed BinaryNotExecutable Blocked Busy CacheBroken Completed ContextTooLarge ControllerEnded
    Crashed Created DependencyUnavailable DownloadFailed Exited Failed GateShut GitFailed GitMissing
    GpuOutOfMemory HistoryRewritten HostKeyUnknown HostOutOfMemory InstallationMoved Invalid InvalidDefaults
    InvalidFlag InvalidManifest InvalidProfile Killed LivenessFailed Loading LogUnwritable ManifestUnreadable
    ManifestsHeld MarkCopied ModelBroken ModelFileChanged ModelGrowing ModelMissing ModelNotGguf
    ModelPartMissing ModelUnreadable NoController NoFreePort NotAnswering NotInProfile NotLookedYet NotStarted
    NotSyncedYet OtherInstallation Pending PolicyDenied PortInUse PortShared PruneHeld ReadingSlow Ready
    Rebooted RefMissing RemoteUnreachable Removed RepositoryMissing Requested ResourcesExhausted
    RestartIgnored RestartRequested RestartsExhausted Resumed Retried RevisionApplied RevisionMissing
    RevisionRejected RowUnreadable SecretMissing SharedLibraryMissing SourceRecovered SourceResumed
    SourceSuspended SpawnFailed SpecChanged Started Starting StartupTimeout StateRebuilt StateRecovered
    StateUnwritable StateWritable StopRequested Stopped Stopping Superfluous Suspended Swept SwitchHeld
    SyncedFilesRestored TimedOut TooLarge Unhealthy Unknown Unresponsive UpToDate WaitingForDependency
    WaitingForLeftovers WaitingForPort WaitingForSlot WaitingForSwitch WaitingForTurn Written
    """.split()  # noqa: SIM905 - as a list it would take a line for each
)
"""Every word that the program shows of a server or a source."""
