"""What the decks cover: each construct with its decks, by name or by a pattern of names.

A deck may stand under several constructs and stands under at least one.  The table in the README is made of this.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

CONSTRUCTS: dict[str, tuple[str, ...]] = {
    "R: values, expressions of signals, models, temperature": (
        *("behavioural_r", "r_tc", "passive_models", "temperature", "options_temp", "negative_resistance"),
        *("resistive_bridge", "wheatstone", "stranger_behavioural_r", "c_and_r_geometry"),
    ),
    "C, also as `C={...}` or `Q={...}`": (
        *("c_*", "capacitor_*", "capacitors_in_series", "differentiator", "rc_*", "miller", "bootstrap"),
        *("stranger_rc_coarse", "stranger_units_everywhere"),
    ),
    "L, also of signals": (
        *("l_behavioural", "rl_step", "inductor_chain", "inductors_in_series", "rlc_bandpass", "lc_ladder_filter"),
        *("ic_inductor", "colpitts_free_rlc", "transmission_ladder", "l_cut_sets"),
    ),
    "K: coupled inductors": ("k_*", "transformer", "stranger_transformer_bridge"),
    "V, I: DC, PULSE, SIN, EXP, PWL, SFFM, AM": (
        *("pulse_*", "pwl_*", "sin_*", "exp_source", "v_am", "v_sffm", "dc_and_waveform", "current_sources"),
        *("stranger_no_parens", "stranger_fast_edges", "stranger_zero_edges", "stranger_spike_train"),
        *("stranger_initial_sine",),
    ),
    "E, G, linear and `value=`": (
        *("e_and_g", "e_value", "gyrator", "op_amp_*", "sallen_key", "wien_bridge", "twin_t_notch"),
        *("state_variable_filter", "stranger_opamp_filter", "stranger_hysteresis_comparator", "stranger_wta"),
    ),
    "F, H": ("f_and_h", "f_through_others", "h_loop", "mirrors", "stranger_current_probe", "stranger_crossbar_neuron"),
    "POLY": ("e_poly_*", "f_poly", "g_poly", "stranger_vccs_neuron", "stranger_lowercase_poly_amp"),
    "TABLE, `pwl()`": ("e_table", "g_table", "b_pwl_function", "stranger_table_diode"),
    "B and its functions": (
        *("b_logic", "b_powers", "b_precedence", "b_rounding", "b_time", "b_transcendental", "b_voltage_source"),
        *("b_temperature", "b_quotes", "functions", "multipliers", "diode_by_b", "slopes", "stranger_expression_soup"),
        *("thermistor_division", "pwm_rc", "stranger_relaxation_b"),
    ),
    "`ddt`, `idt`": ("b_ddt*", "ltspice_integral", "pspice_stranger_hp", "stranger_ddt_inductor"),
    "currents of any element": ("i_of_*", "currents_in_subcircuit", "stranger_saved_currents", "save_and_print"),
    "S, W: switches": (
        *("s_*", "w_switch", "sample_and_hold", "boost_converter", "current_switch_snubber"),
        *("buck_hard_switch",),
        "pspice_vswitch",
    ),
    "D: diodes": (
        *("d_*", "bridge_rectifier", "halfwave_inductive", "voltage_multiplier", "zener_clamp", "diode_clipper"),
        *("peak_detector", "ltspice_stranger_1n4148"),
    ),
    "M: MOSFET level 1": (
        *(
            "m_body",
            "m_doping",
            "m_gate_charge",
            "m_inverter",
            "m_switch_1t1r",
            "m_zero_start",
            "m_default_sizes",
            "ring_oscillator",
            "nand_gate",
            "mos_stack_overlap",
        ),
        *("current_mirror", "stranger_axon_hillock", "stranger_level_shifter"),
    ),
    "Q: bipolar transistors": (
        *("q_*", "sr_latch", "astable_bjt", "differential_pair", "colpitts", "stranger_title_is_element_like"),
    ),
    "J: JFET": ("j_amplifier", "jfet_source_follower"),
    "`m=`": ("m_on_*",),
    "X: subcircuits and their parameters": (
        *("subcircuit_*", "subckt_parameters", "ends_wrong_name", "stranger_subckt_hell", "logic_behavioural"),
        *("global_nodes", "globals"),
    ),
    "`.param`, `.func`": (*("param_*", "params_card", "func_styles", "numbers", "scales", "stranger_many_params"),),
    "`.if`, `.lib`, `.include`": ("if_*", "lib_section", "include_relative"),
    "`.ic`, `IC=`, `.nodeset`, `uic`": (
        *("ic_*", "uic_capacitor_loops", "nodeset*", "stranger_ic_card", "memristor_start"),
        *("stranger_control_uic", "stranger_negative_time_constant"),
    ),
    "operating point": ("start_*", "charge_pump"),
    "`.tran`, `.control`, `.temp`, `.options`, other cards": (
        *("tran_forms", "control_tran", "temp_card", "options_temperature", "harmless_cards", "measures"),
        *("control_alter", "stranger_control_block", "stranger_ac_dc_beside_tran"),
    ),
    "formatting: case, comments, continuations, encodings": (
        *("comments_and_case", "case_and_ground", "continuations", "latin1_crlf", "no_end", "text_after_end"),
        *("node_names", "stranger_lower_upper", "stranger_comments_in_lines", "stranger_gnd_names"),
    ),
    "`--dialect ltspice`": ("ltspice_*",),
    "`--dialect pspice`": ("pspice_*",),
    "`--dialect hspice`": ("hspice_*",),
    "memristor models": (
        *("model_*", "hp_*", "knowm*", "michigan", "pershin_di_ventra", "stanford", "vteam", "yakopcic"),
        *("memristor_*", "stranger_hp_ngspice", "stranger_knowm_pasted", "ltspice_stranger_yakopcic"),
    ),
    "neurons and neuristors": (
        *("hodgkin_huxley", "morris_lecar", "izhikevich_smooth", "fitzhugh_nagumo", "neuristor", "mif_network"),
        *("stdp_pair", "stranger_axon_hillock", "ltspice_stranger_neuron"),
    ),
    "crossbars with wires, 1T1R, sneak paths": (
        *("crossbar_*", "hspice_stranger_crossbar", "stranger_crossbar_neuron"),
    ),
    "oscillators and non-linear dynamics": (
        *("van_der_pol", "relaxation_oscillator", "coupled_oscillators", "chua", "duffing", "lorenz_short"),
        *("predator_prey", "tunnel_diode_oscillator", "schmitt_opamp", "phase_locked_loop", "memristor_oscillator"),
        *("saturating_inductor_by_g", "thermal_runaway"),
    ),
    "power electronics: rectifiers, converters": (
        *("bridge_rectifier", "halfwave_inductive", "rectifier_*", "boost_converter", "buck_pwm", "voltage_multiplier"),
        "stranger_transformer_bridge",
    ),
    "strangers' decks, as people post them": ("stranger_*", "*_stranger_*"),
}


def decks_of(construct: str, names: Iterable[str]) -> tuple[str, ...]:
    """Return those of ``names`` that cover ``construct``, in order."""
    return tuple(name for name in names if any(fnmatchcase(name, pattern) for pattern in CONSTRUCTS[construct]))
