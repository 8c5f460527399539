import pytest

from reconciler.core.spec import EnvValue, FromEnv, FromFile, ServerSpec
from reconciler.engines.environment import check_environment, inherits, looks_secret


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("LLAMA_ARG_MODEL", "b.gguf", "field `model` decides"),
        ("LLAMA_ARG_CTX_SIZE", "512", "field `ctx` decides"),
        ("LLAMA_ARG_N_PARALLEL", "2", "field `parallel` decides"),
        ("LLAMA_ARG_N_GPU_LAYERS", "9", "field `gpuLayers` decides"),
        ("LLAMA_ARG_PORT", FromEnv(from_env="PORT"), "field `port` decides"),
        ("LLAMA_ARG_API_KEY_FILE", "keys", "field `apiKeyFile` decides"),
        ("LLAMA_ARG_API_PREFIX", "/a", "`api-prefix: …`"),
        ("LLAMA_ARG_LOG_FILE", "x", "leave it out"),
        ("LLAMA_ARG_LOG_VERBOSITY", "0", "write 1 or more"),
        ("LLAMA_SERVER_ROUTER_PORT", "1", "leave it out"),
        ("RECONCILER_STATE", "x", "choose another"),
        ("LLAMA_API_KEY", "s3cret", "`LLAMA_API_KEY: {fromFile: <path>}`"),
        ("HF_TOKEN", "s3cret", "`HF_TOKEN: {fromFile: <path>}`"),
        ("my_password", "s3cret", "{fromEnv: <variable>}"),
    ],
)
def test_refused_variables_say_what_to_write(name: str, value: EnvValue, said: str) -> None:
    ((location, message),) = check_environment(ServerSpec(model="a", env={name: value}).env)
    assert location == ("env", name)
    assert said in message
    assert "s3cret" not in message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HF_TOKEN", FromFile(from_file="token")),
        ("LLAMA_API_KEY", FromEnv(from_env="KEY")),
        ("HF_TOKEN", ""),
        ("CUDA_VISIBLE_DEVICES", "0"),
        ("LLAMA_ARG_FLASH_ATTN", "on"),
        ("LLAMA_ARG_LOG_VERBOSITY", "4"),
    ],
)
def test_other_variables_are_accepted(name: str, value: EnvValue) -> None:
    assert check_environment({name: value}) == []


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("AWS_SECRET_ACCESS_KEY", True),
        ("OPENAI_APIKEY", True),
        ("HF_TOKEN", True),
        ("HF_TOKEN_PATH", False),
        ("TOKENIZERS_PARALLELISM", False),
        ("LLAMA_ARG_IMAGE_MIN_TOKENS", False),
    ],
)
def test_which_names_look_secret(name: str, secret: bool) -> None:
    assert looks_secret(name) is secret


@pytest.mark.parametrize(
    "name", ["PATH", "HOME", "LC_ALL", "CUDA_VISIBLE_DEVICES", "HSA_OVERRIDE_GFX_VERSION", "no_proxy", "SSL_CERT_FILE"]
)
def test_passed_on(name: str) -> None:
    assert inherits(name)


@pytest.mark.parametrize(
    "name",
    [
        *("LLAMA_ARG_CTX_SIZE", "LLAMA_API_KEY", "LLAMA_SERVER_ROUTER_PORT", "RECONCILER_STATE", "HF_TOKEN"),
        *("NVIDIA_API_KEY", "PYTHONPATH", "LD_PRELOAD", "PATH_X"),
    ],
)
def test_not_passed_on(name: str) -> None:
    assert not inherits(name)
