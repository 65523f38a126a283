/* The few icons of the page, drawn here so that nothing is loaded. All are decoration. */
import type { ReactNode } from "react";

function Icon({ children, size = 16 }: { children: ReactNode; size?: number }) {
    return (
        <svg
            className="icon"
            width={size}
            height={size}
            viewBox="0 0 16 16"
            fill="none"
            stroke="currentColor"
            strokeWidth="1.5"
            strokeLinecap="round"
            strokeLinejoin="round"
            aria-hidden="true"
            focusable="false"
        >
            {children}
        </svg>
    );
}

export const WindMark = () => (
    <Icon size={20}>
        <path d="M1.5 5.5h7a2 2 0 1 0-1.9-2.6" />
        <path d="M1.5 8.2h10.6a2.1 2.1 0 1 1-2 2.7" />
        <path d="M1.5 10.9h4.6a1.6 1.6 0 1 1-1.5 2.1" />
    </Icon>
);
export const SearchIcon = () => (
    <Icon>
        <circle cx="7" cy="7" r="4.25" />
        <path d="m10.3 10.3 3.2 3.2" />
    </Icon>
);
export const CopyIcon = () => (
    <Icon size={14}>
        <rect x="5.5" y="5.5" width="8" height="8" rx="1.5" />
        <path d="M10.5 3.5a1 1 0 0 0-1-1h-6a1 1 0 0 0-1 1v6a1 1 0 0 0 1 1" />
    </Icon>
);
export const CheckIcon = () => (
    <Icon size={14}>
        <path d="m3 8.5 3.2 3L13 4.5" />
    </Icon>
);
export const BackIcon = () => (
    <Icon>
        <path d="M9.5 3.5 5 8l4.5 4.5" />
    </Icon>
);
export const CloseIcon = () => (
    <Icon size={14}>
        <path d="m4 4 8 8M12 4l-8 8" />
    </Icon>
);
export const ArrowIcon = () => (
    <Icon size={12}>
        <path d="M2.5 8h11M9.5 4l4 4-4 4" />
    </Icon>
);
export const WarnIcon = () => (
    <Icon>
        <path d="M8 2.2 14.6 13.5H1.4z" />
        <path d="M8 6.5v3.2M8 11.6v.1" />
    </Icon>
);
