// Every word of the page, in both languages, and how numbers and ages read in them.

const TEXTS = {
  "pt-BR": {
    language: "Idioma", signOut: "Sair", signIn: "Entrar", user: "Usuário", password: "Senha",
    secondFactor: "Segundo fator", totp: "Código do aplicativo, ou um código de recuperação", totpFirst: "Código que o aplicativo mostra",
    orType: "Leia com um aplicativo autenticador, ou digite:", confirm: "Ativar", close: "Fechar", next: "Continuar",
    factorOff: "Está desativado. Ativado, entrar pede também o código que um aplicativo do celular mostra.",
    factorOn: "Está ativo; restam {n} códigos de recuperação. Para remover é preciso um código.", remove: "Remover",
    factorNeeded: "Seu papel exige um segundo fator. Configure-o para continuar.",
    factorCodes: "Está ativo. Guarde estes códigos de recuperação: cada um vale uma vez, e só aparecem agora.",
    setup: "Configurar este agente", setupHint: "O primeiro administrador é criado com o código que o registro do agente mostra ao iniciar.",
    setupCode: "Código de configuração", newPassword: "Nova senha (8 caracteres ou mais)",
    totp_required: "Agora o código do aplicativo, ou um código de recuperação.", invalid_totp: "O código está errado ou já passou.",
    totp_replayed: "Este código já foi usado: espere o próximo.",
    totp_locked: "Códigos errados demais: use um código de recuperação, ou procure um administrador.",
    clock_untrusted: "O relógio do agente ainda não está certo e os códigos podem falhar: use um código de recuperação, ou entre na própria caixa.",
    invalid_code: "O código de configuração está errado.", setup_closed: "Este agente já está configurado: entre.",
    liveValues: "Valores ao vivo", filter: "Filtrar dispositivos e pontos", download: "Baixar histórico",
    from: "De", to: "Até (exclusive)", points: "Pontos", downloadCsv: "Baixar CSV", cancel: "Cancelar",
    live: "ao vivo", connecting: "conectando…", waiting: "sem conexão, nova tentativa em {s} s",
    tooSlow: "conexão lenta demais, nova tentativa em {s} s",
    good: "boa", uncertain: "incerta", bad: "ruim", stale: "desatualizada", none: "sem leitura",
    quality: "qualidade", noValue: "sem valor", ago: "há {age}", point: "Ponto", trend: "Últimos minutos", value: "Valor",
    readingsPerSecond: "Leituras/s", stored: "Gravadas", backlog: "A enviar", health: "Agente",
    healthy: "em ordem", unhealthy: "com problemas",
    hour: "Última hora", today: "Hoje", yesterday: "Ontem", week: "7 dias",
    zone: "Horários no fuso deste navegador: {zone}. O arquivo traz UTC.",
    all: "Todos", chosen: "{n} de {all}", noPoints: "Nenhum ponto configurado.", noMatch: "Nada corresponde ao filtro.",
    preparing: "Preparando…", loaded: "{mb} MB recebidos", done: "Pronto: {mb} MB", cancelled: "Cancelado",
    choosePoints: "Escolha ao menos um ponto.", badPeriod: "O início deve vir antes do fim.",
    broken: "A transferência foi interrompida: o arquivo não estaria completo. Tente de novo.",
    invalid_client: "Usuário ou senha errados.", too_many_attempts: "Muitas tentativas erradas: aguarde {s} s.",
    unreachable: "O agente não responde. Verifique a rede.", sessionEnded: "A sessão terminou. Entre de novo.",
  },
  en: {
    language: "Language", signOut: "Sign out", signIn: "Sign in", user: "User", password: "Password",
    secondFactor: "Second factor", totp: "Code of your app, or a recovery code", totpFirst: "Code that the app shows",
    orType: "Scan it with an authenticator app, or type:", confirm: "Switch on", close: "Close", next: "Next",
    factorOff: "It is off. With it on, signing in also wants the code that an app on your phone shows.",
    factorOn: "It is on; {n} recovery codes are left. Removing it wants a code.", remove: "Remove",
    factorNeeded: "Your role needs a second factor. Set it up to go on.",
    factorCodes: "It is on. Keep these recovery codes safe: each works once, and they are shown only now.",
    setup: "Set up this agent", setupHint: "The first administrator is made with the code that the agent's log shows at its start.",
    setupCode: "Setup code", newPassword: "New password (8 characters or more)",
    totp_required: "Now the code of your app, or a recovery code.", invalid_totp: "The code is wrong or has passed.",
    totp_replayed: "This code was used before: wait for the next one.",
    totp_locked: "Too many wrong codes: use a recovery code, or ask an administrator.",
    clock_untrusted: "The agent's clock is not right yet, so codes may fail: use a recovery code, or sign in at the box itself.",
    invalid_code: "The setup code is wrong.", setup_closed: "This agent is set up already: sign in.",
    liveValues: "Live values", filter: "Filter devices and points", download: "Download history",
    from: "From", to: "To (exclusive)", points: "Points", downloadCsv: "Download CSV", cancel: "Cancel",
    live: "live", connecting: "connecting…", waiting: "no connection, next try in {s} s",
    tooSlow: "connection too slow, next try in {s} s",
    good: "good", uncertain: "uncertain", bad: "bad", stale: "out of date", none: "no reading yet",
    quality: "quality", noValue: "no value", ago: "{age} ago", point: "Point", trend: "Last minutes", value: "Value",
    readingsPerSecond: "Readings/s", stored: "Stored", backlog: "To send", health: "Agent",
    healthy: "in order", unhealthy: "has problems",
    hour: "Last hour", today: "Today", yesterday: "Yesterday", week: "7 days",
    zone: "Times in this browser's zone: {zone}. The file is in UTC.",
    all: "All", chosen: "{n} of {all}", noPoints: "No points are configured.", noMatch: "Nothing matches the filter.",
    preparing: "Preparing…", loaded: "{mb} MB received", done: "Done: {mb} MB", cancelled: "Cancelled",
    choosePoints: "Choose at least one point.", badPeriod: "The start must come before the end.",
    broken: "The transfer was interrupted: the file would not be whole. Please try again.",
    invalid_client: "Wrong user or password.", too_many_attempts: "Too many failed tries: wait {s} s.",
    unreachable: "The agent does not answer. Check the network.", sessionEnded: "The session has ended. Sign in again.",
  },
};

const KEY = "uicps.language";
const preferred = () => (navigator.language.toLowerCase().startsWith("pt") ? "pt-BR" : "en");
const kept = localStorage.getItem(KEY);

export let language = kept in TEXTS ? kept : preferred();

export function chooseLanguage(name) {
  language = name;
  localStorage.setItem(KEY, name);
}

/** The text of `key`, with `{name}` replaced from `values`. */
export function t(key, values = {}) {
  return (TEXTS[language][key] ?? key).replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

export const known = (key) => key in TEXTS[language];

/** Put the texts into every element that names one. */
export function translate() {
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-t]")) element.textContent = t(element.dataset.t);
  for (const element of document.querySelectorAll("[data-placeholder]")) element.placeholder = t(element.dataset.placeholder);
}

const formats = new Map();

function fixed(digits) {
  const key = `${language} ${digits}`;
  if (!formats.has(key)) formats.set(key, new Intl.NumberFormat(language, { minimumFractionDigits: digits, maximumFractionDigits: digits }));
  return formats.get(key);
}

/** A number for the eye; as many digits for the next value as for this, or the column would dance. */
export function number(value, digits) {
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 1e12)) return value.toExponential(2);
  return fixed(digits ?? (Number.isInteger(value) ? 0 : size >= 1000 ? 1 : size >= 100 ? 2 : 3)).format(value);
}

/** 7 s, 3 min, 5 h, 2 d. */
export function age(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 120) return `${s} s`;
  if (s < 7200) return `${Math.floor(s / 60)} min`;
  return s < 172800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86400)} d`;
}
