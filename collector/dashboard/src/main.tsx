import { createRoot } from "react-dom/client";
import { resumeSession } from "./api/session";
import { App } from "./app";
import "./styles/tokens.css";
import "./styles/base.css";
import "./styles/frame.css";
import "./styles/alerts.css";
import "./styles/detail.css";
import "./styles/why.css";

const root = document.getElementById("root");
if (root) createRoot(root).render(<App />);
void resumeSession();
