"""Words that other programs have for what an option does here. Data only; `mending` puts it to use.

A row has the words, in any spelling of `-` and `_`, and what to offer for them: the first whose option the script has.
What is within braces is an example, in whose place the value that was given is shown if the option takes it. An offer
that begins with no option is a sentence, for scripts that have none of the others; `for --data:` before it confines it
to scripts that have this one.
"""

_CHANNELS = "--set generator.{0}={{{1}}} --set discriminator.{0}={{{1}}}"
_SIZE = (
    "--resolution {256x256}",
    "for --data: the pictures have their size: python dataset_tool.py --source PICTURES --dest x.zip --resolution "
    "256x256 brings them to one",
    "for --network: the network has its size; leave it out",
)
_DATA = ("--data {pictures.zip}", "--source {pictures}", "--images {pictures}", "--target {pictures}")
_OUT = ("--outdir {out}", "--dest {out.zip}", "--out {out}", "--sheet {sheet.png}")

OPTIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    # Data
    ("dataset dataroot data-root data-dir data-path datapath datadir data-folder train-data train-dir training-data "
     "train-path image-folder image-dir images-dir images-path image-path img-dir imgs images data i", _DATA),
    ("input in src input-dir input-path input-folder from", ("--source {pictures}", "--target {photo.jpg}", *_DATA)),
    ("image img picture photo file target target-image target-fname files",
     ("--target {photo.jpg}", "--source {pictures}", "--images {pictures}", "--data {pictures}")),
    ("cond conditional class-cond class-conditional with-labels use-labels",
     ("--labels {auto}", "--class {0}")),
    ("class-idx class-index class-id label label-idx y category cls conditioning num-classes n-classes nclasses "
     "classes class labels", ("--class {0}", "--labels {folders}")),
    ("subset max-size max-imgs max-samples num-train limit nimages num-images-train", ("--max-images {1000}",)),
    ("xflip x-flip hflip h-flip flip horizontal-flip random-flip random-mirror augment-mirror mirror-augment "
     "mirrored", ("--mirror",)),
    ("resolution res size image-size img-size imsize img-res image-resolution crop-size target-size width height "
     "image-width image-height", (*_SIZE[:1], "--scale 2", *_SIZE[1:])),
    ("crop resize-mode fit center-crop", ("--transform {center-crop}",)),
    ("filter resample interpolation-filter", ("--resize-filter {lanczos}", "--resample {lanczos}")),
    # Where files go
    ("dir output out output-dir output-path output-folder out-dir outfile outpath result results results-dir "
     "result-dir save save-dir save-path log-dir logdir checkpoint-dir work-dir workdir dest destination o to",
     _OUT),
    ("outvid video save-video movie mp4", ("--film {film.mp4}", "--format {mp4}")),
    ("name exp exp-name experiment run-name run desc description tag project",
     ("for --resume: runs are numbered and named after their data; --outdir says where they are kept",)),
    ("wandb-project use-wandb", ("--wandb {project}",)),
    ("ext extension image-format img-format file-format", ("--format {png}",)),
    # The network
    ("network-pkl network-path pkl ckpt checkpoint checkpoint-path ckpt-path model model-path weights weight net "
     "generator g-ckpt snapshot-path load load-path load-model load-weights network",
     ("--network {network.safetensors}", "--transfer {network.safetensors}", "--source {network.safetensors}")),
    ("pretrained finetune fine-tune init init-from resume-pkl resume-from-pkl transfer-from warm-start",
     ("--transfer {network.safetensors}", "--network {network.safetensors}")),
    ("resume-from resume-run continue continue-train continue-from load-checkpoint load-last restore auto-resume "
     "restart-from resume-training", ("--resume {latest}", "--network {network.safetensors}")),
    # Seeds and latents
    ("seed random-seed manual-seed rng-seed", ("--seeds {0}", "--seed {0}", "--rows {0}")),
    ("seeds", ("--seed {0}", "--rows {0-3}")),
    ("n num count num-samples n-samples sample samples n-sample pics num-images n-images num-pics number "
     "num-img batch-count how-many", ("--seeds 0-15", "--max-images {1000}")),
    ("row-seeds rows-seeds row", ("--rows {0-3}",)),
    ("col-seeds column-seeds col columns cols-seeds", ("--cols {10-14}",)),
    ("style col-styles layers style-layers mix-layers", ("--styles {coarse}", "--layers {coarse}")),
    ("latent latent-file latents w ws z projected projected-latent w-file dlatents npz",
     ("--latents {projected-w.npz}",)),
    ("truncation trunc truncation-psi trunc-psi t-psi psi truncate", ("--psi {0.7}", "--psis {0.5,0.7}")),
    ("truncation-cutoff trunc-cutoff cutoff", ("--psi-cutoff {8}",)),
    ("noise noise-type randomize-noise", ("--noise-mode {const}",)),
    ("nrow ncol nrows ncols grid-size tile-size grid-width sheet montage", ("--grid {2x2}",)),
    ("interp interpolation kind", ("--path {spline}",)),
    ("w-frames num-frames n-frames nframes frames-per-key duration duration-sec seconds frames", ("--frames {60}",)),
    ("num-keyframes keyframes keys key-frames", ("--seeds 0-7",)),
    ("framerate frame-rate rate", ("--fps {30}",)),
    ("upscale zoom enlarge", ("--scale {2}",)),
    ("direction factor attribute", ("--direction {0}",)),
    ("degree strength alpha power", ("--strengths {-3:3:1}", "--weight {0.5}")),
    # Training
    ("cfg config configuration", ("--preset {auto}",)),
    ("lr learning-rate lrate base-lr init-lr",
     ("--set optimizer.g_lr={0.002} --set optimizer.d_lr={0.002}", "--rate {0.1}")),
    ("g-lr glr lr-g lr-gen", ("--set optimizer.g_lr={0.002}",)),
    ("d-lr dlr lr-d lr-disc ttur", ("--set optimizer.d_lr={0.002}",)),
    ("beta1 beta-1 adam-beta1 b1", ("--set optimizer.beta1={0}",)),
    ("beta2 beta-2 adam-beta2 b2", ("--set optimizer.beta2={0.99}",)),
    ("batch-size batchsize bs b mini-batch minibatch minibatch-size total-batch batch-per-gpu", ("--batch {32}",)),
    ("microbatch micro-batch gradient-accumulation accumulation accumulate grad-accum gradient-accumulate-every",
     ("--batch-gpu {auto}",)),
    ("epochs epoch n-epochs num-epochs max-epochs iter iters iterations niter n-iter num-iter num-iters max-iter "
     "max-iters total-iters steps step num-steps max-steps total-steps train-steps num-train-steps total-kimg "
     "train-kimg duration-kimg", ("--steps {1000}", "--kimg 5000", "--frames {60}")),
    ("snapshot snapshot-ticks snapshot-interval save-every save-interval save-freq checkpoint-every "
     "checkpoint-interval save-steps network-snapshot-ticks image-snapshot-ticks", ("--snap {50}",)),
    ("log-every log-interval print-freq log-freq kimg-per-tick", ("--tick {4}",)),
    ("r1 r1-gamma reg gradient-penalty gp-weight lambda-gp", ("--gamma {10}",)),
    ("freezed freeze freeze-disc freeze-discriminator freeze-layers", ("--freeze-d {10}",)),
    ("augment augmentation ada aug-type use-ada diffaug diff-augment", ("--aug {ada}",)),
    ("aug-p aug-prob augment-p augment-prob initstrength aug-strength", ("--p {0.2}",)),
    ("ada-target aug-target rt", ("--target {0.6}",)),
    ("ada-length ada-speed adjust-speed", ("--ada-kimg {500}",)),
    ("cbase channel-base fmap-base fmaps channel-multiplier network-capacity",
     (_CHANNELS.format("channel_base", 16384),)),
    ("cmax channel-max fmap-max max-channels", (_CHANNELS.format("channel_max", 512),)),
    ("map-depth mapping-layers n-mlp style-depth mapping-depth", ("--set generator.mapping_layers={2}",)),
    ("mbstd-group minibatch-std-group minstd", ("--set discriminator.mbstd_group={4}",)),
    ("z-dim nz latent-dim latent-size noise-dim", ("--set generator.z_dim={512}",)),
    ("w-dim style-dim", ("--set generator.w_dim={512}",)),
    ("style-mixing mixing style-mixing-prob mixed-prob", ("--set loss.mixing={0.9}",)),
    ("pl-weight path-regularize pl-reg path-weight", ("--set loss.path_weight={2}",)),
    ("ema ema-kimg ema-decay ema-halflife", ("--set average.kimg={10}",)),
    ("g-reg-every g-reg-interval", ("--set optimizer.g_interval={4}",)),
    ("d-reg-every d-reg-interval", ("--set optimizer.d_interval={16}",)),
    ("metric fid eval evaluate eval-metrics", ("--metrics {fid50k_full}",)),
    # The machine
    ("gpu gpu-id gpu-ids gpus num-gpus n-gpus ngpu ngpus nproc num-processes world-size devices",
     ("--gpus {1}", "--device {cuda}")),
    ("cuda use-cuda use-gpu", ("--device {cuda}",)),
    ("cpu no-cuda use-cpu no-gpu", ("--device {cpu}",)),
    ("fp16 half use-fp16 num-fp16-res amp use-amp mixed-precision", ("--precision {fp16}",)),
    ("bf16 bfloat16", ("--precision {bf16}",)),
    ("fp32 float32 no-amp", ("--precision {fp32}",)),
    ("tf32 allow-tf32", ("--precision {tf32}",)),
    ("dtype type float-type number-format", ("--precision {fp32}", "--dtype {float32}")),
    ("num-workers n-workers nworkers loader-workers threads num-threads jobs j", ("--workers {2}",)),
    ("gradient-checkpointing grad-checkpoint checkpointing", ("--checkpoint-activations",)),
    ("torch-compile jit", ("--compile",)),
    ("n-dry dryrun dry", ("--dry-run",)),
)  # fmt: skip

# Other spellings of values, where the option has the second one among its choices.
VALUES = {
    "jpeg": "jpg",
    "gpu": "cuda",
    "cuda:0": "cuda",
    "float32": "fp32",
    "full": "fp32",
    "float16": "fp16",
    "half": "fp16",
    "bfloat16": "bf16",
    "fp32": "float32",
    "fp16": "float16",
    "nearest-neighbor": "nearest",
    "nearest-neighbour": "nearest",
    "false": "none",
    "off": "none",
    "wplus": "w+",
    "w_plus": "w+",
}

# What a word without an option is by its ending, and the options that it may be meant for.
ENDINGS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (".safetensors .pkl .pt .pth .ckpt", ("--network", "--transfer", "--source", "--with")),
    (".npz .npy", ("--latents",)),
    (".jpg .jpeg .png .webp .bmp .gif .tif .tiff .jfif .avif .heic", ("--target", "--source", "--images", "--data")),
    (".csv .json", ("--labels",)),
    (".mp4 .mov .avi .mkv .webm", ("--source", "--film")),
    (".zip .tar .tgz .gz .parquet .tfrecords .mdb", ("--data", "--source", "--images", "--target")),
)
FOLDER = ("--data", "--source", "--target", "--images", "--network")
RUN = ("--network", "--resume", "--source")
SEEDS = ("--seeds", "--rows", "--cols")

# Options whose values are joined by commas.
LISTS = frozenset({"--target", "--metrics", "--direction", "--only", "--layers", "--styles", "--latents"})

YES, NO = frozenset({"true", "yes", "on", "1"}), frozenset({"false", "no", "off", "0"})
