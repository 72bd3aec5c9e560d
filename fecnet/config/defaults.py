"""Every key there is: default, meaning, unit and source. ``docs/config.md`` is made from this file.

A value's type here is the type a recipe or an override must give. Lengths are counted in ``SOLVER.UNIT``.
"""

from easydict import EasyDict

_C = EasyDict()

_C.NAME = ""  # name of the run folder in OUTPUT_DIR; empty = the recipe's file name, with a number if the folder exists
_C.OUTPUT_DIR = "result"  # folder of the run folders
_C.SEED = 0  # seed of data order, augmentation, dropout and weight initialisation
_C.DEVICE = "auto"  # auto (the GPU of this process if there is one), cpu, cuda, or one GPU such as cuda:1

_C.DATA = EasyDict()
_C.DATA.PATH = "datasets/demo"  # packed data set (docs/formats.md)
_C.DATA.SOURCE = ""  # source from which a missing PATH is prepared: synthetic; empty = an error
_C.DATA.CACHE_ON_DEVICE = "auto"  # keep all faces in device memory: always, never, or auto (on a GPU if they fit)
_C.DATA.TRAIN_SPLIT = "train"  # split trained on
_C.DATA.EVAL_SPLITS = ["val"]  # splits evaluated during training; the first selects the best checkpoint
_C.DATA.REPORT_SPLITS = ["test"]  # splits that `fecnet evaluate` reports
_C.DATA.INPUT_SIZE = 64  # side of the net's input, pixels
_C.DATA.CROP = 1.0  # side of the crop, fraction of the stored side, resized to INPUT_SIZE (44/48 = 0.9167 for FER2013)
_C.DATA.BALANCE_TRIPLET_TYPES = True  # one third of each batch from each triplet type; arXiv:1811.11283
_C.DATA.TRIPLET_GROUP_SIZE = 1  # triplets sharing a face that stay adjacent; larger = fewer unique faces per batch
_C.DATA.HARD_TRIPLETS = 0.0  # share of draws that are of triplets the net got wrong after the last epoch; 0 = off
_C.DATA.HARD_TRIPLETS_CEILING = 3.0  # upper limit of how often such a triplet is drawn, relative to chance; above 1
_C.DATA.LABELS = ""  # label set of the classes; empty = none; required by criteria on classes
_C.DATA.EXTRA_LABELS = []  # further label sets, each with its own linear classifier and cross-entropy
_C.DATA.BALANCE_CLASSES = False  # sample all classes with equal frequency; only without triplets
_C.DATA.HOLD_OUT = 0.0  # fraction of TRAIN_SPLIT held out as split hold_out: of triplets, or of faces (whole subjects)
_C.DATA.FOLD = 0  # fold of TRAIN_SPLIT held out as split fold, 1..NUM_FOLDS; 0 = none
_C.DATA.FOLD_BY = "subject"  # grouped, stratified folds by this column of faces.csv; or published, corrected (CK+)
_C.DATA.NUM_FOLDS = 10  # number of folds
_C.DATA.FOLD_SEED = 0  # seed of the assignment to folds; not SEED, so that runs with other seeds share the folds
_C.DATA.TRAIN_MIN_VOTE_SHARE = 0.0  # keep faces whose label has more than this share of the class votes; 0.5 = majority
_C.DATA.EVAL_MIN_VOTE_SHARE = 0.0  # the same for evaluation
_C.DATA.TEACHERS = []  # runs or checkpoints whose mean prediction is mixed into each vote distribution (distillation)
_C.DATA.TEACHER_SHARE = 0.5  # share of that part, above 0, at most 1; arXiv:1503.02531
_C.DATA.WEIGHT_BY_AGREEMENT = False  # weight of a triplet = share of its annotators who agree; mean 1 over the split

_C.AUGMENT = EasyDict()
_C.AUGMENT.FLIP = 0.5  # probability of a horizontal flip
_C.AUGMENT.ROTATE = 0.0  # maximum rotation, degrees
_C.AUGMENT.SCALE = 0.0  # maximum change of scale, fraction
_C.AUGMENT.TRANSLATE = 0.0  # maximum translation along each axis, fraction of the stored side; edge padding
_C.AUGMENT.RANDOM_CROP = False  # with DATA.CROP < 1: crop at a random position instead of the centre
_C.AUGMENT.BRIGHTNESS = 0.0  # factor sampled uniformly from 1 ± this
_C.AUGMENT.CONTRAST = 0.0  # factor sampled uniformly from 1 ± this
_C.AUGMENT.SATURATION = 0.0  # factor sampled uniformly from 1 ± this; colour images only
_C.AUGMENT.NOISE = 0.0  # standard deviation of additive Gaussian noise, pixels in 0..1
_C.AUGMENT.RANDOM_ERASE = 0.0  # probability of erasing one rectangle (random erasing, arXiv:1708.04896)
_C.AUGMENT.RANDOM_ERASE_AREA = [0.02, 0.25]  # minimum and maximum erased area, fraction of the image
_C.AUGMENT.MIXUP = 0.0  # alpha of mixup of labelled faces, not of triplets; 0 = off; arXiv:1710.09412
_C.AUGMENT.CUTMIX = 0.0  # alpha of CutMix of labelled faces; with MIXUP each for half of the faces; arXiv:1905.04899

_C.MODEL = EasyDict()
_C.MODEL.BACKBONE = "resnet18"  # resnet18, vgg16/19, iresnet18/50, deep_emotion, inception_nn2,
# inception_resnet_v1 or dlib_resnet (or timm:NAME)
_C.MODEL.WIDTH_MULT = 1.0  # width multiplier on the channels of resnet18
_C.MODEL.BLOCKS = [2, 2, 2, 2]  # residual blocks per stage of resnet18; [1, 1, 1, 1] is ResNet-10
_C.MODEL.STEM = "imagenet"  # of resnet18: imagenet (7×7, stride 2, max pooling) or cifar (3×3, no pooling)
_C.MODEL.LAYER_CHANNELS = []  # channels per layer of a pruned resnet18 or vgg (docs/pruning.md); empty = default
_C.MODEL.IRESNET_FC = True  # iresnet ends in its FC and BN1d for inputs of DATA.INPUT_SIZE; false = feature map
_C.MODEL.BACKBONE_DROPOUT = 0.5  # dropout probability before the hidden layer of deep_emotion; 0.5 in its code
_C.MODEL.BATCH_NORM = True  # batch norm in inception_nn2; without it (as published) training from scratch barely works
_C.MODEL.NECK = "dense_block"  # dense_block (paper), conv3x3 (best published), conv1x1 (channel reduction) or none
_C.MODEL.HEAD = "embedding"  # embedding, deviation, classifier, joint, scn, ran, scn_ran, affect, classifier_affect
_C.MODEL.NECK_CHANNELS = 512  # output channels of the neck's first 1×1 convolution
_C.MODEL.FEATURE_DIM = 512  # dimensions of the hidden layer before the embedding
_C.MODEL.EMBEDDING_DIM = 16  # dimensions of the L2-normalised embedding; arXiv:1811.11283
_C.MODEL.PROJECTION_ORDER = 1  # degree of the polynomial that makes the embedding of a deviation; 1 = linear
_C.MODEL.DROPOUT = 0.5  # dropout probability before the last layer of a head
_C.MODEL.PRETRAINED = ""  # weights that cover the backbone: .safetensors, .pt, .pth, dlib's .dat; or a shipped net
_C.MODEL.PRETRAINED_ON = ""  # training data of PRETRAINED, kept in every checkpoint; required with PRETRAINED
_C.MODEL.PRETRAINED_PARTS = "backbone"  # load from PRETRAINED: backbone, or all (neck and head too; strict)
_C.MODEL.FREEZE_BACKBONE = False  # freeze the weights and batch-norm statistics of the backbone
_C.MODEL.MEAN = [0.5]  # mean subtracted from pixels in 0..1; one value or one per channel; mask channel: 0 if omitted
_C.MODEL.STD = [0.5]  # standard deviation to divide by; one value or one per channel; mask channel: 1 if omitted

_C.LOSS = EasyDict()
_C.LOSS.CRITERIA = ["triplet"]  # triplet, choice (votes), rater_choice (single answers), hellinger (votes),
# cross_entropy, soft_targets (votes), wasserstein, scn, ran, valence_arousal
_C.LOSS.WEIGHTS = [1.0]  # loss weight of each of CRITERIA
_C.LOSS.EXTRA_WEIGHT = 1.0  # loss weight of the cross-entropy of each of DATA.EXTRA_LABELS
_C.LOSS.CLASS_WEIGHTS = "none"  # cross_entropy: none, balanced (inverse class frequency) or sqrt (its square root)
_C.LOSS.LABEL_SMOOTHING = 0.0  # cross_entropy: label smoothing; 0.1 in arXiv:1512.00567
_C.LOSS.OHEM_RATIO = 1.0  # cross_entropy: online hard example mining, fraction of the batch kept; arXiv:1604.03540
_C.LOSS.SCN_BETA = 0.7  # scn: fraction of the batch in the high-importance group; arXiv:2002.10392
_C.LOSS.SCN_MARGIN_1 = 0.07  # scn: margin between the groups' mean importances; 0.07 at batch size 64, 0.15 at 1024
_C.LOSS.SCN_MARGIN_2 = 0.2  # scn: margin in probability for relabelling; arXiv:2002.10392
_C.LOSS.SCN_RELABEL_AFTER = 0.0  # scn: length before relabelling starts; 9 epochs in arXiv:2002.10392; 0 = never
_C.LOSS.RAN_MARGIN = 0.02  # ran: margin of the best region's importance over the face's; arXiv:1905.04075 (0.1 in code)
_C.LOSS.WASSERSTEIN_COST = "centroid"  # wasserstein: cost between classes: learned, centroid or confusion
_C.LOSS.WASSERSTEIN_CONFUSION = ""  # wasserstein: confusion matrix on the training set, .npy or .csv (fecnet evaluate)
_C.LOSS.CCC = False  # valence_arousal: add 1 - concordance correlation coefficient; arXiv:1708.03985
_C.LOSS.CHOICE_SCALE = 0.0  # choice, rater_choice: scale of the squared distances, 0.1..100; 0 = learned, starting at 4
_C.LOSS.MARGIN_ONE_CLASS = 0.1  # triplet margin, squared L2 between unit vectors; arXiv:1811.11283
_C.LOSS.MARGIN_TWO_CLASS = 0.2  # triplet margin, squared L2 between unit vectors; arXiv:1811.11283
_C.LOSS.MARGIN_THREE_CLASS = 0.2  # likewise; arXiv:1811.11283 (0.3 in the original code)

_C.SOLVER = EasyDict()
_C.SOLVER.UNIT = "iteration"  # unit of all lengths: iteration or epoch
_C.SOLVER.LENGTH = 50000.0  # length of training
_C.SOLVER.BATCH_SIZE = 90  # triplets (else labelled faces) over all ranks and micro-batches; shares may differ by one
_C.SOLVER.LABELLED_BATCH_SIZE = 0  # labelled faces added to each batch of triplets, in joint training
_C.SOLVER.GRAD_ACCUM_STEPS = 1  # micro-batches per iteration (gradient accumulation)
_C.SOLVER.OPTIMIZER = "adam"  # adam, adamw, sgd, rmsprop, nadam; fused_adam, fused_lamb: NVIDIA apex, GPU only
_C.SOLVER.BASE_LR = 0.0001  # base learning rate
_C.SOLVER.BACKBONE_LR_FACTOR = 1.0  # learning rate of the backbone, as a factor on BASE_LR
_C.SOLVER.WEIGHT_DECAY = 0.0005  # weight decay, as the optimizer defines it
_C.SOLVER.DECAY_BIAS_NORM = True  # apply weight decay to biases and batch-norm parameters too
_C.SOLVER.MOMENTUM = 0.9  # momentum of sgd and rmsprop
_C.SOLVER.SCHEDULE = "multistep"  # learning-rate schedule: constant, multistep, step, cosine, exponential or plateau
_C.SOLVER.MILESTONES = [40000.0, 45000.0]  # multistep: lengths after which the rate is multiplied by GAMMA
_C.SOLVER.STEP_SIZE = 10.0  # step, exponential: length between multiplications by GAMMA
_C.SOLVER.GAMMA = 0.1  # decay factor of multistep, step, exponential and plateau
_C.SOLVER.PLATEAU_PATIENCE = 5  # plateau: evaluations without improvement before the rate is multiplied by GAMMA
_C.SOLVER.WARMUP = 0.0  # length of the linear warm-up
_C.SOLVER.WARMUP_FACTOR = 0.1  # factor on BASE_LR at the start of the warm-up
_C.SOLVER.CLIP_VALUE = 0.0  # clip each gradient element to ± this; 0 = off
_C.SOLVER.CLIP_NORM = 0.0  # clip the gradient's global L2 norm to this; 0 = off
_C.SOLVER.BN_L1 = 0.0  # L1 penalty on the batch-norm scales that fecnet prune ranks; 1e-4 in arXiv:1708.06519; 0 = off
_C.SOLVER.EMA_DECAY = 0.0  # decay of the weights' average, which is evaluated; at iteration t up to t / (t + 9); 0: off
_C.SOLVER.PRECISION = "auto"  # fp32, bf16, fp16 or auto (bf16 if the hardware is fast at it); evaluation is fp32
_C.SOLVER.CHANNELS_LAST = True  # channels-last memory format of images and weights
_C.SOLVER.SYNC_BN = False  # batch-norm statistics over all GPUs (SyncBatchNorm); GPU only
_C.SOLVER.COMPILE = False  # compile the net with torch.compile
_C.SOLVER.CUDA_GRAPHS = False  # with COMPILE on a GPU: replay kernels as CUDA graphs; for nets of tiny kernels

_C.EVAL = EasyDict()
_C.EVAL.PERIOD = 2000.0  # length between evaluations; 0 = only at the end
_C.EVAL.BEST_METRIC = "auto"  # auto, triplet_accuracy, accuracy, mean_class_accuracy, macro_f1, ccc; last = none
_C.EVAL.TTA = "center"  # test-time augmentation, averaged: center, flip, or ten_crop (with DATA.CROP < 1)
_C.EVAL.BATCH_SIZE = 256  # faces per forward pass; independent of the number of processes

_C.CHECKPOINT = EasyDict()
_C.CHECKPOINT.PERIOD = 2000.0  # length between checkpoints; 0 = only at the end; each new best is saved too
_C.CHECKPOINT.KEEP = 2  # number of latest checkpoints kept besides the best; 0 = all

_C.LOG = EasyDict()
_C.LOG.PERIOD = 20  # iterations between log entries in metrics.jsonl
_C.LOG.TENSORBOARD = True  # write TensorBoard events if tensorboard is installed
