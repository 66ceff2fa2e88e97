"""Other names of the methods that adapters are registered under.

Belongs here: names that texts and packages use for a method, each to the name of its adapter. Does not belong
here: an adapter. A name is compared without regard to case and separators, so only different words stand here.
"""

from __future__ import annotations

_NAMES: dict[str, tuple[str, ...]] = {
    "tost_two_sample_welch": (
        "tost", "welch_tost", "tost_welch", "tost_two_sample", "tost_independent", "tost_unpaired",
        "tost_two_sample_unequal_variance", "two_sample_tost", "equivalence_two_sample",
    ),
    "tost_two_sample_pooled": (
        "tost_pooled", "pooled_tost", "tost_two_sample_equal_variance", "tost_student",
    ),
    "tost_two_sample_ratio": (
        "tost_two_sample_welch_ratio", "tost_welch_ratio", "tost_ratio", "tost_lognormal", "tost_two_sample_log",
        "tost_two_sample_lognormal", "tost_two_sample_welch_log", "tost_gmr",
    ),
    "tost_two_sample_pooled_ratio": ("tost_pooled_ratio", "tost_two_sample_pooled_log"),
    "tost_ratio_of_means": ("tost_fieller", "fieller", "ratio_of_means", "tost_two_sample_fieller"),
    "tost_paired": ("paired_tost", "tost_dependent", "equivalence_paired"),
    "tost_paired_ratio": ("tost_paired_log", "tost_paired_lognormal"),
    "tost_one_sample": ("one_sample_tost", "tost_single_sample", "equivalence_one_sample"),
    "tost_wilcoxon_paired": (
        "tost_signed_rank", "wilcoxon_tost", "tost_wilcoxon", "tost_wilcoxon_signed_rank", "signed_rank_tost",
    ),
    "tost_wilcoxon_two_sample": (
        "tost_mann_whitney", "tost_rank_sum", "tost_wilcoxon_rank_sum", "mann_whitney_tost", "tost_wilcoxon_unpaired",
    ),
    "wellek_t": ("wellek_two_sample_t", "wellek_tt2st", "tt2st", "wellek_t_two_sample"),
    "wellek_t_paired": ("wellek_paired_t", "wellek_tt1st", "tt1st", "wellek_one_sample_t", "wellek_t_one_sample"),
    "wellek_dispersion": ("wellek_variance", "fstretch", "wellek_fstretch", "wellek_F_dispersion"),
    "wellek_mawi": ("mawi", "wellek_mann_whitney"),
    "wellek_mwtie": ("wellek_mwtie_xy", "mwtie_xy", "wellek_mann_whitney_ties"),
    "wellek_F_k_groups": ("wellek_F", "wellek_k_sample_F", "wellek_anova", "equivalence_oneway"),
    "prop_equivalence": (
        "proportions", "proportions_difference", "proportion_equivalence", "proportions_equivalence",
        "two_proportions", "prop_difference", "tost_proportions", "prop_score",
    ),
    "prop_equivalence_paired": (
        "proportions_paired", "paired_proportions", "tango", "prop_paired", "proportions_paired_tango",
    ),
    "rate_equivalence": ("rates", "rate_ratio", "poisson_rates", "tost_rates", "rates_ratio"),
    "variance": (
        "variance_homogeneity", "variances", "levene", "bartlett", "brown_forsythe", "variance_ratio",
        "variance_equivalence", "variability", "sd_ratio",
    ),
    "tolerance_normal": ("tolerance", "tolerance_factor", "tolerance_k", "tolerance_k_factors", "normal_tolerance"),
    "tolerance_lognormal": ("lognormal_tolerance",),
    "tolerance_nonparametric": ("tolerance_wilks", "wilks", "nonparametric_tolerance", "tolerance_np"),
    "prediction_normal": ("prediction", "prediction_interval", "tolerance_prediction"),
    "quality_range": ("tolerance_quality_range",),
    "censored": ("censored_lognormal", "censored_mle", "censored_ros", "censored_km", "left_censored"),
    "outlier_grubbs": ("grubbs",),
    "outlier_esd": ("esd", "generalised_esd", "generalized_esd", "outlier_rosner", "rosner", "gesd", "outlier_gesd"),
    "icc": ("agreement_icc", "intraclass_correlation"),
    "bland_altman": ("agreement_bland_altman", "limits_of_agreement"),
    "lin_ccc": ("agreement_lin", "ccc", "concordance", "agreement_ccc", "lin_concordance", "agreement_lin_ccc"),
    "deming": ("agreement_deming", "deming_regression"),
    "passing_bablok": ("agreement_passing_bablok",),
    "gauge_rr": ("gauge", "gage_rr", "agreement_gauge", "agreement_gauge_rr", "gauge_crossed", "agreement_gage_rr"),
    "multiplicity": ("p_adjust", "adjust_p", "multiple_testing"),
    "hotelling_one_sample": ("hotelling", "hotelling_t2_one_sample"),
    "hotelling_two_sample": ("hotelling_t2_two_sample",),
    "univariate_summary": ("univariate", "nist_univariate", "summary_statistics"),
    "anova_oneway": ("anova", "oneway_anova", "one_way_anova"),
    "mixed_equivalence": ("mixed", "mixed_model", "mixed_kr", "lmm", "lmm_equivalence"),
    "mixed_equivalence_split_apheresis": ("split_apheresis", "split", "mixed_split_apheresis"),
    "reml_varcomp": ("varcomp", "varcomp_reml", "variance_components", "reml_nested", "varcomp_nested", "reml"),
    "reml_crossed": ("varcomp_crossed",),
    "vca_nested_anova": ("vca", "vca_anova", "anova_vca", "vca_nested", "ep05", "vca_ep05"),
    "reference_vs_each": ("dunnett", "each_vs_reference", "many_to_one"),
    "all_pairs": ("pairwise", "tukey", "all_pairwise"),
    "bayes_equivalence": ("bayes_two_group", "bayes_prob_equivalence"),
    "bayes_hierarchical": ("bayes_partial_pooling",),
    "power_tost": ("power", "tost_power", "sample_size_tost"),
    "control_chart_imr": ("imr", "individuals_chart", "control_chart_individuals", "spc_imr"),
    "control_chart_variables": (
        "xbar_r", "xbar_s", "control_chart_xbar", "control_chart_xbar_r", "control_chart_xbar_s",
        "control_chart_xbar_r_s",
    ),
    "control_chart_ewma": ("ewma", "spc_ewma"),
    "control_chart_cusum": ("cusum", "spc_cusum"),
    "control_chart_p": ("p_chart",),
    "control_chart_np": ("np_chart",),
    "control_chart_c": ("c_chart",),
    "control_chart_u": ("u_chart",),
    "control_chart_laney_p": ("laney_p", "control_chart_p_laney", "control_chart_p_prime"),
    "control_chart_laney_u": ("laney_u", "control_chart_u_laney", "control_chart_u_prime"),
    "control_chart_t2": ("control_chart_hotelling", "t2_chart", "control_chart_multivariate", "mspc_t2"),
    "control_chart_mewma": ("mewma",),
    "chart_rules": ("nelson_rules", "western_electric_rules", "control_chart_rules", "spc_rules"),
    "arl": ("average_run_length", "run_length"),
    "capability": ("process_capability", "cpk", "ppk"),
    "mspc_pca": ("pca", "mspc", "pca_mspc"),
    "trend_changepoint": ("trend", "changepoint", "mann_kendall", "trend_mann_kendall", "change_point"),
    "dtw": ("dynamic_time_warping",),
    "logistic": ("logistic_regression", "glm_binomial", "logistic_firth", "firth"),
    "survival": ("kaplan_meier", "cox", "log_rank", "survival_cox", "survival_km"),
}  # fmt: skip

SAME: dict[str, str] = {other: name for name, others in _NAMES.items() for other in others}
