"""Variables by which a process is made to load code, or to write elsewhere: no manifest sets them."""

import re

_FAMILIES = (
    # The dynamic loader and the C library: libraries, converters, tunables, traces.
    *("LD_", "DYLD_", "GLIBC_", "GCONV_PATH", "NLSPATH", "LOCPATH", "RESOLV_", "HOSTALIASES", "LOCALDOMAIN"),
    *("MALLOC_TRACE", "MALLOC_CONF", "GETCONF_DIR"),
    # Interpreters and shells, which a llama-server wrapped in a script starts.
    *("PYTHON", "PERL", "RUBY", "NODE_", "LUA_", "JAVA_TOOL_OPTIONS", "_JAVA_OPTIONS", "JDK_JAVA_OPTIONS", "CLASSPATH"),
    *("BASH", "ENV$", "ZDOTDIR", "SHELLOPTS", "IFS$", "CDPATH", "PATH$", "PS1$", "PS2$", "PS4$", "PROMPT_COMMAND"),
    # Programs that run others as their variables tell.
    *("GIT_", "SSH_ASKPASS", "EDITOR$", "VISUAL$", "PAGER$", "BROWSER$", "FFREPORT", "TERMINFO", "TERMCAP"),
    # Backends, drivers, layers and tools of GPUs that are loaded by name.
    *("GGML_BACKEND_PATH", "GGML_BACKEND_DIR", "GGML_METAL_PATH", "ADSP_LIBRARY_PATH", "OMP_TOOL"),
    *("OPENCL_", "OCL_ICD", "CUDA_INJECTION", "NVTX_INJECTION", "CUPTI_", "VK_", "ENABLE_VK", "LIBGL_", "LIBVA_"),
    *("MESA_LOADER", "GBM_BACKEND", "EGL_", "__EGL_", "__GLX_", "HSA_TOOLS", "ROCP_", "ROCPROF", "ROCTRACER"),
    *("ROCBLAS_TENSILE", "HIPBLASLT_TENSILE", "HIP_PATH", "HIPCC", "AMD_COMGR", "AMD_LOG_LEVEL_FILE"),
    *("ZE_ENABLE_", "ZET_ENABLE_", "ZEL_", "PTI_", "UR_ADAPTERS_", "UR_ENABLE_LAYERS", "SYCL_PI_", "XPTI_"),
    # Cryptography and sanitizers: engines, key logs, reports.
    *("OPENSSL_", "SSLKEYLOGFILE", "ASAN_", "LSAN_", "TSAN_", "UBSAN_", "MSAN_", "GCOV_", "LLVM_PROFILE"),
)
"""How their names begin; `$` where that is the whole name."""
_LOADER = re.compile("|".join(_FAMILIES))


def loads_code(variable: str) -> bool:
    """Whether an environment variable of this name decides which code a process loads, or where it writes."""
    return _LOADER.match(variable) is not None
