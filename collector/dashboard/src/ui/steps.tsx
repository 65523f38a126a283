/* A status that moves along a line of steps; each is a button, the present one is pressed. */
interface Props<T extends string> {
    label: string;
    steps: readonly T[];
    at: T;
    isDisabled: boolean;
    onStep: (step: T) => void;
}

export function Steps<T extends string>({ label, steps, at, isDisabled, onStep }: Props<T>) {
    const reached = steps.indexOf(at);
    return (
        <div className="field">
            <span id={`steps-${label}`}>{label}</span>
            <div className="steps" role="group" aria-labelledby={`steps-${label}`}>
                {steps.map((step, i) => (
                    <button
                        key={step}
                        type="button"
                        className={i < reached ? "is-past" : ""}
                        aria-pressed={step === at}
                        disabled={isDisabled}
                        onClick={() => step !== at && onStep(step)}
                    >
                        {step}
                    </button>
                ))}
            </div>
        </div>
    );
}
