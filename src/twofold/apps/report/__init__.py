"""Report pages: what a run did, how good its vectors are, what they look like; and methods side by side."""

from twofold.apps.report.data import ComparisonData, Difference, MethodRuns, Neighbourhood, ReportData
from twofold.apps.report.layout import choose_items, choose_queries, layout, neighbours
from twofold.apps.report.page import render, render_comparison, write
from twofold.apps.report.pictures import thumbnails

__all__ = [
    "ComparisonData",
    "Difference",
    "MethodRuns",
    "Neighbourhood",
    "ReportData",
    "choose_items",
    "choose_queries",
    "layout",
    "neighbours",
    "render",
    "render_comparison",
    "thumbnails",
    "write",
]
