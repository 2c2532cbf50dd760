"""Every bound of the program in one place, so that abuse tests and messages read the same number."""

MIB = 1024 * 1024

# The request.
PROMPT_CHARACTERS = 20_000
PROMPT_NESTING = 64
NETWORK_TAGS = 32
PROMPT_WEIGHT = 10.0  # clamps (a:1e308) to something a network survives
STEPS = (1, 150)
CFG_SCALE = (0.0, 30.0)
DENOISE_STRENGTH = (0.0, 1.0)
HIRES_SCALE = (1.0, 4.0)
CLIP_SKIP = (1, 12)
SIDE = (64, 4096)  # pixels
PIXELS = 16_800_000  # one picture's width * height, after hires
PICTURES = (1, 400)  # pictures of one job
COMBINATIONS = 64  # of one prompt's wildcards, made one a picture
SCRIPT_CHARACTERS = 100_000  # of one text of a script
SHEET_MARGIN = 500  # pixels between the cells of a sheet
SEED = (0, 2**32 - 1)
SIGMA = 1_000_000.0
CHURN = 100.0
RHO = 100.0
MASK_BLUR = 64  # pixels
MASK_PADDING = 256  # pixels
STROKES = 5_000  # on one canvas
STROKE_NUMBERS = 30_000  # x, y and pressure of each point
UNDONE = 50
FRAME_REACH = 16_384  # pixels, in every direction from a picture's corner
STYLES = 64
STYLE_NAME = 200  # characters
EXTENSIONS_PER_REQUEST = 64

# A merge of checkpoints.
MERGE_AMOUNT = (-1.0, 2.0)  # beyond 0-1 it goes on past B, or away from it
MERGE_BLOCKS = 64
MERGE_NAME_BYTES = 150
BLOCK_WEIGHTS_CHARACTERS = 400
MERGE_SYNC_BYTES = 256 * MIB  # written between two syncs: the last one is short, and so is a cancel
MERGE_SPARE_BYTES = 64 * MIB  # left free on the disk beside the result

# The queue.
QUEUED_JOBS = 1_000
QUEUED_JOBS_PER_CLIENT = 1_000  # one user by default, who may fill the queue
ENDED_JOBS = 10_000  # ended jobs that are remembered; their pictures stay in the gallery
STORED_EVENTS = 50_000
EVENT_RING = 10_000
EVENT_STREAMS = 64
STREAM_BUFFER_BYTES = 1 * MIB
ATTEMPTS = 2  # a job that stopped the engine twice is set aside
HEARTBEAT_S = 1.0
HEARTBEAT_DUMP_S = 30.0
HEARTBEAT_KILL_S = 120.0
CANCEL_KILL_S = 10.0
ENGINE_MEMORY_SHARE = 0.75  # of the computer's memory: an engine that holds more is started afresh between jobs
SPOOL_PICTURES = 8  # finished pictures kept in memory while the disk is full

# The wire.
JSON_BODY_BYTES = 4 * MIB
SDAPI_BODY_BYTES = 32 * MIB  # A1111's dialect carries pictures as base64 inside JSON
BLOB_BYTES = 64 * MIB
BODY_IDLE_S = 30.0
JSON_DIGITS = 400
LOGIN_FAILURES_PER_MINUTE = 10

# Files.
IMAGE_PIXELS = 64_000_000
INFOTEXT_WRITTEN_BYTES = 256 * 1024
INFOTEXT_READ_BYTES = 1 * MIB
FILE_NAME_BYTES = 200
HEADER_BYTES = 32 * MIB
HEADER_TENSORS = 50_000
HEADER_METADATA_BYTES = 64 * 1024  # shown to people; the file itself may hold more
THUMBNAIL_SIDE = 448  # drawn at 224 px, sharp on a doubled screen

# Previews.
PREVIEWS_PER_SECOND = 5.0
PREVIEW_SHARE = 0.03  # of the job's time
PREVIEW_SIDE = 512

# Extensions.
HOOK_FAILURES_IN_A_ROW = 3
EXTENSION_IMPORT_S = 20.0

# Adapters.
ADAPTER_KEYS_SHARE = 0.8  # of a file's tensors that must fit the model, or it was made for another
EMBEDDING_VECTORS = 1_000  # of one textual inversion
NOTE_CHARACTERS = 2_000  # of what a person says about an adapter
ADAPTERS_LISTED = 200  # in one answer
