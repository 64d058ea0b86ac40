"""What of peft is here under another name, and what is left out, and why."""

#: Types of peft that a method of our own stands for, by its name.
OWN = {
    "PREFIX_TUNING": "prefix",
    "CARTRIDGE": "prefix",
    "PROMPT_TUNING": "prompt_tuning",
    "P_TUNING": "p_tuning",
    "ADAPTION_PROMPT": "adaption_prompt",
}

#: Types of peft that are not here.
LEFT_OUT = {
    "XLORA": "mixes LoRAs that have been trained before",
    "POLY": "shares skills between tasks, whose numbers its forward asks for",
    "MULTITASK_PROMPT_TUNING": "shares a prompt between tasks, whose numbers its forward asks for",
    "CPT": "trains a context of examples that it must be given, of which a task names none",
    "TRAINABLE_TOKENS": "trains tokens added to the vocabulary, of which a data set names none",
    "SHADOW": "runs a second network beside the model, and trains parts that never get a gradient",
}

#: LoRA's initialisations and variants in peft that are no choices of `lora`.
LORA_LEFT_OUT = {
    "pissa_niter_[number of iters]": "draws its decomposition at random, and another when loaded",
    "loftq": "splits a quantised base; it needs bitsandbytes, and bases are whole here",
    "use_qalora": "groups inputs for a quantised base; on any other it is plain LoRA",
    "alora_invocation_tokens": "switches on behind given tokens of a generated text",
    "arrow_config": "routes between LoRAs that have been trained before",
    "use_bdlora": "splits a factor into blocks to serve many adapters on several devices",
    "monteclora_config": "samples the update to calibrate confidences, which no metric measures",
}
