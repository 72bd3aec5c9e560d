"""Every key there is: default, meaning, unit and source. ``docs/config.md`` is made from this file.

A value's type here is the type a recipe or an override must give. Lengths are counted in ``SOLVER.UNIT``.
"""

from easydict import EasyDict

_C = EasyDict()

_C.NAME = ""  # run folder below OUTPUT_DIR; empty: the recipe's file name, numbered when taken
_C.OUTPUT_DIR = "result"  # folder that holds the run folders
_C.SEED = 0  # data order, augmentation, dropout and initial weights are functions of it
_C.DEVICE = "auto"  # auto, cpu or cuda; auto takes the GPU of this process where there is one

_C.DATA = EasyDict()
_C.DATA.PATH = "datasets/demo"  # packed data set (docs/formats.md)
_C.DATA.PREPARE = ""  # makes PATH where it is absent, such as "synthetic": fecnet prepare synthetic PATH
_C.DATA.CACHE_ON_DEVICE = "auto"  # keep all faces on the device: always, never, or auto (a GPU with room)
_C.DATA.TRAIN_SPLIT = "train"  # split trained on
_C.DATA.EVAL_SPLITS = ["val"]  # splits evaluated during training; the first selects the best checkpoint
_C.DATA.REPORT_SPLITS = ["test"]  # splits inference.py reports
_C.DATA.INPUT_SIZE = 64  # side of the net's input, pixels
_C.DATA.CROP = 1.0  # side of the part the net sees, fraction of the stored side (44/48 = 0.9167 for FER2013)
_C.DATA.BALANCE_TYPES = True  # a third of each batch from each triplet type; arXiv:1811.11283
_C.DATA.TRIPLET_GROUP_SIZE = 1  # triplets sharing a face that stay adjacent; larger: fewer unique faces a batch
_C.DATA.LABELS = ""  # label set of the classes; empty = none, needed by a criterion on classes
_C.DATA.BALANCE_CLASSES = False  # each class equally often in a batch; only where no triplets are trained on
_C.DATA.HOLD_OUT = 0.0  # share of TRAIN_SPLIT that makes a split hold_out for EVAL_SPLITS; subject-wise where known
_C.DATA.FOLD = 0  # fold of TRAIN_SPLIT that is not trained on but makes a split fold, 1..NUM_FOLDS; 0 = none
_C.DATA.FOLD_BY = "subject"  # a column of faces.csv kept whole, classes balanced; or published, corrected (CK+)
_C.DATA.NUM_FOLDS = 10  # how many folds
_C.DATA.FOLD_SEED = 0  # order in which the values of the column are dealt to folds; not SEED: folds stay for each of it
_C.DATA.TRAIN_VOTE_SHARE = 0.0  # learn no face whose label has at most this share of the classes' votes; 0.5: majority
_C.DATA.EVAL_VOTE_SHARE = 0.0  # measure no face whose label has at most this share of the classes' votes
_C.DATA.VOTE_WEIGHTS = False  # weight a triplet by the share of its raters that agree, mean 1 over the split

_C.AUGMENT = EasyDict()
_C.AUGMENT.FLIP = 0.5  # probability of a horizontal flip
_C.AUGMENT.ROTATE = 0.0  # largest rotation, degrees
_C.AUGMENT.SCALE = 0.0  # largest change of scale, fraction
_C.AUGMENT.SHIFT = 0.0  # largest shift along each axis, fraction of the stored side; the border fills in
_C.AUGMENT.RANDOM_CROP = False  # with DATA.CROP < 1 the part seen lies anywhere in the stored image, not in its middle
_C.AUGMENT.BRIGHTNESS = 0.0  # factor drawn from 1 ± this
_C.AUGMENT.CONTRAST = 0.0  # factor drawn from 1 ± this
_C.AUGMENT.SATURATION = 0.0  # factor drawn from 1 ± this; colour images only
_C.AUGMENT.NOISE = 0.0  # standard deviation of Gaussian pixel noise, image range 0..1
_C.AUGMENT.ERASE = 0.0  # probability of erasing one rectangle
_C.AUGMENT.ERASE_AREA = [0.02, 0.25]  # least and largest erased area, fraction of the image

_C.MODEL = EasyDict()
_C.MODEL.BACKBONE = "resnet18"  # resnet18, vgg16/19, iresnet18/50, deep_emotion, inception_nn2, inception_resnet_v1
_C.MODEL.WIDTH_MULT = 1.0  # factor on resnet18's channels
_C.MODEL.BLOCKS = [2, 2, 2, 2]  # residual blocks in each stage of resnet18; [1, 1, 1, 1] is ResNet-10
_C.MODEL.STEM = "imagenet"  # of resnet18: imagenet (7×7 of stride 2, max pool) or cifar (3×3, no pool; small faces)
_C.MODEL.LAYER_CHANNELS = []  # channels of each layer of a pruned resnet18 or vgg (docs/pruning.md); empty = default
_C.MODEL.IRESNET_FC = True  # iresnet ends with its FC and BN1d, sized by DATA.INPUT_SIZE; false: its map, for a neck
_C.MODEL.BACKBONE_DROPOUT = 0.5  # probability in deep_emotion, before its hidden layer; 0.5 in the published code
_C.MODEL.BATCH_NORM = True  # batch norm in inception_nn2; without it (as published) it hardly trains from scratch
_C.MODEL.NECK = "dense_block"  # dense_block (paper), conv3x3 (best published), conv1x1 (reduction alone) or none
_C.MODEL.HEAD = "embedding"  # embedding, classifier, joint (both), scn, ran, scn_ran, affect, classifier_affect
_C.MODEL.NECK_CHANNELS = 512  # channels of the 1×1 convolution that starts the neck
_C.MODEL.FEATURE_DIM = 512  # units of the layer before the embedding
_C.MODEL.EMBEDDING_DIM = 16  # dimensions of the unit embedding; arXiv:1811.11283
_C.MODEL.DROPOUT = 0.5  # probability, before the last layer of a head
_C.MODEL.PRETRAINED = ""  # state dict for the backbone (.safetensors, .pt); matched by names and shapes
_C.MODEL.PRETRAINED_ON = ""  # what PRETRAINED was trained on, kept in every checkpoint; required with PRETRAINED
_C.MODEL.PRETRAINED_PARTS = "backbone"  # of PRETRAINED: backbone, or all: neck and head too, every weight must fit
_C.MODEL.FREEZE_BACKBONE = False  # no gradient and fixed batch-norm statistics in the backbone
_C.MODEL.MEAN = [0.5]  # subtracted from the image in 0..1; one value or one per channel; a mask channel may lack: 0
_C.MODEL.STD = [0.5]  # divides the image after MEAN; one value or one per channel; a mask channel may lack: 1

_C.LOSS = EasyDict()
_C.LOSS.CRITERIA = ["triplet"]  # triplet, cross_entropy, soft_targets (votes), scn, ran, wasserstein, valence_arousal
_C.LOSS.WEIGHTS = [1.0]  # factor on each of CRITERIA
_C.LOSS.CLASS_WEIGHTS = "none"  # of cross_entropy: none, balanced (1 / faces of the class) or sqrt (the root of that)
_C.LOSS.LABEL_SMOOTHING = 0.0  # of cross_entropy: share of the target spread over all classes; 0.1 in arXiv:1512.00567
_C.LOSS.OHEM_RATIO = 1.0  # of cross_entropy: share of the batch with the largest losses that counts; arXiv:1604.03540
_C.LOSS.SCN_BETA = 0.7  # of scn: share of the batch in the high-importance group; arXiv:2002.10392
_C.LOSS.SCN_MARGIN_1 = 0.07  # of scn: between the groups' mean importances; 0.07 at batches of 64, 0.15 at 1024
_C.LOSS.SCN_MARGIN_2 = 0.2  # of scn: a face is relabelled where another class is likelier by this; arXiv:2002.10392
_C.LOSS.RELABEL_AFTER = 0.0  # of scn: length before relabelling begins; 9 epochs in arXiv:2002.10392; 0 = never
_C.LOSS.RAN_MARGIN = 0.02  # of ran: importance of the best crop over the whole face; arXiv:1905.04075 (0.1 in its code)
_C.LOSS.WASSERSTEIN = "centroid"  # of wasserstein: distances of classes: free (learnt), centroid or confusion
_C.LOSS.CONFUSION = ""  # of wasserstein confusion: counts on the training set, .npy or .csv (inference.py writes them)
_C.LOSS.CCC = False  # of valence_arousal: add 1 - concordance; arXiv:1708.03985
_C.LOSS.MARGIN_ONE_CLASS = 0.1  # squared L2 between unit vectors; arXiv:1811.11283
_C.LOSS.MARGIN_TWO_CLASS = 0.2  # squared L2 between unit vectors; arXiv:1811.11283
_C.LOSS.MARGIN_THREE_CLASS = 0.2  # squared L2 between unit vectors; arXiv:1811.11283 (0.3 in the original code)

_C.SOLVER = EasyDict()
_C.SOLVER.UNIT = "iteration"  # unit of all lengths: iteration or epoch
_C.SOLVER.LENGTH = 50000.0  # length of the training
_C.SOLVER.BATCH_SIZE = 90  # triplets, else labelled faces, over all ranks and micro-batches; shares may differ by one
_C.SOLVER.LABELLED_BATCH_SIZE = 0  # labelled faces added to each batch of triplets, where both are trained on
_C.SOLVER.GRAD_ACCUM_STEPS = 1  # micro-batches per iteration: less memory, the same update
_C.SOLVER.OPTIMIZER = "adam"  # adam, adamw, sgd, rmsprop, nadam; fused_adam, fused_lamb: NVIDIA apex, GPU only
_C.SOLVER.BASE_LR = 0.0001  # learning rate
_C.SOLVER.BACKBONE_LR_FACTOR = 1.0  # learning rate of the backbone, as a factor on BASE_LR
_C.SOLVER.WEIGHT_DECAY = 0.0005  # as the optimizer defines it
_C.SOLVER.DECAY_BIAS_NORM = True  # weight decay on biases and batch-norm parameters too
_C.SOLVER.MOMENTUM = 0.9  # of sgd and rmsprop
_C.SOLVER.SCHEDULE = "multistep"  # constant, multistep, step, cosine, exponential or plateau
_C.SOLVER.MILESTONES = [40000.0, 45000.0]  # lengths after which multistep multiplies by GAMMA
_C.SOLVER.STEP_SIZE = 10.0  # length between two multiplications by GAMMA: step and exponential
_C.SOLVER.GAMMA = 0.1  # factor of multistep, step, exponential and plateau
_C.SOLVER.PLATEAU_PATIENCE = 5  # evaluations without a better accuracy before plateau multiplies by GAMMA
_C.SOLVER.WARMUP = 0.0  # length of the linear warm-up
_C.SOLVER.WARMUP_FACTOR = 0.1  # factor on BASE_LR where the warm-up starts
_C.SOLVER.CLIP_VALUE = 0.0  # clamp each gradient element to ± this; 0 = off
_C.SOLVER.CLIP_NORM = 0.0  # clip the gradient's L2 norm to this; 0 = off
_C.SOLVER.SPARSITY = 0.0  # L1 gradient on the scales that fecnet prune compares; 1e-4 in arXiv:1708.06519; 0 = off
_C.SOLVER.EMA_DECAY = 0.0  # average the weights, per iteration; 0 = off; the average is what is evaluated and used
_C.SOLVER.PRECISION = "auto"  # fp32, bf16, fp16 or auto (bf16 where the hardware computes it fast); evaluation is fp32
_C.SOLVER.CHANNELS_LAST = True  # memory format of images and weights
_C.SOLVER.SYNC_BN = False  # batch-norm statistics over all GPUs (SyncBatchNorm); an error on a CPU
_C.SOLVER.COMPILE = False  # torch.compile the net
_C.SOLVER.CUDA_GRAPHS = False  # with COMPILE on a GPU: replay kernels as CUDA graphs; for nets whose kernels are tiny

_C.EVAL = EasyDict()
_C.EVAL.PERIOD = 2000.0  # length between two evaluations; 0 = only at the end
_C.EVAL.BEST_METRIC = "auto"  # selects best: auto, triplets, accuracy, mean_class_accuracy, macro_f1, ccc; last: none
_C.EVAL.TTA = "center"  # center, flip (and mirror image) or ten_crop (corners, centre, mirrored; DATA.CROP < 1): mean
_C.EVAL.BATCH_SIZE = 256  # faces per forward pass; the same whatever the number of processes

_C.CHECKPOINT = EasyDict()
_C.CHECKPOINT.PERIOD = 2000.0  # length between two checkpoints; 0 = only at the end; each new best is kept besides
_C.CHECKPOINT.KEEP = 2  # how many of the latest checkpoints stay besides the best one; 0 = all

_C.LOG = EasyDict()
_C.LOG.PERIOD = 20  # iterations between two lines of metrics.jsonl
_C.LOG.TENSORBOARD = True  # write TensorBoard events where tensorboard is installed
