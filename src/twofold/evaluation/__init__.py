"""How good are the vectors? Probes, clustering, retrieval and geometry on embedding tensors, each with its protocol.

Nothing here knows images or recipes, and nothing here changes what it is given. `evaluate_encoders` runs the standard
protocol on several encoders; every part of it is a function of its own.
"""

from twofold.evaluation.clustering import ClusteringResult, cluster_accuracy, kmeans_agreement
from twofold.evaluation.comparison import Encoded, differences, evaluate_encoders
from twofold.evaluation.diagnosis import diagnose
from twofold.evaluation.features import UNLABELLED, Features
from twofold.evaluation.geometry import geometry_report, is_collapsed
from twofold.evaluation.intervals import (
    Interval,
    bootstrap_difference,
    bootstrap_mean,
    mean_interval,
    paired_difference,
)
from twofold.evaluation.knn import KnnResult, weighted_knn
from twofold.evaluation.probe import FewShotResult, ProbeResult, few_shot_probe, linear_probe
from twofold.evaluation.protocol import METRIC_GROUPS, METRICS, PROTOCOL, evaluate_features
from twofold.evaluation.result import Difference, Evaluation, Measurement, MetricInfo, Row
from twofold.evaluation.retrieval import RetrievalResult, random_ranking, retrieve_across, retrieve_within
from twofold.evaluation.split import Split, stratified_split
from twofold.evaluation.task import Task, evaluate_task

__all__ = [
    "METRICS",
    "METRIC_GROUPS",
    "PROTOCOL",
    "UNLABELLED",
    "ClusteringResult",
    "Difference",
    "Encoded",
    "Evaluation",
    "Features",
    "FewShotResult",
    "Interval",
    "KnnResult",
    "Measurement",
    "MetricInfo",
    "ProbeResult",
    "RetrievalResult",
    "Row",
    "Split",
    "Task",
    "bootstrap_difference",
    "bootstrap_mean",
    "cluster_accuracy",
    "diagnose",
    "differences",
    "evaluate_encoders",
    "evaluate_features",
    "evaluate_task",
    "few_shot_probe",
    "geometry_report",
    "is_collapsed",
    "kmeans_agreement",
    "linear_probe",
    "mean_interval",
    "paired_difference",
    "random_ranking",
    "retrieve_across",
    "retrieve_within",
    "stratified_split",
    "weighted_knn",
]
